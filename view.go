package imx

import "time"

// Why is the chain from an instance back to what a person wrote, each link naming its
// predecessor by digest.
type Why struct {
	Instance  Instance  `json:"instance"`
	Release   Release   `json:"release"`
	Image     Image     `json:"image"`
	ImagePlan ImagePlan `json:"imagePlan"` // what the image was made from
	Plan      Digest    `json:"plan"`
	Source    Source    `json:"source"`
	// Candidate is what the release was made of, and Verdict the newest on it; nil where there is none.
	Candidate *Candidate `json:"candidate,omitempty"`
	Verdict   *Verdict   `json:"verdict,omitempty"`
	Events    []Event    `json:"events"` // the events that made it, in order
}

// Status is what `imx status` shows.
type Status struct {
	Version string `json:"version"`
	State   State  `json:"state"`
	// Environment is whose policy says what may run; "" for a past state.
	Environment string      `json:"environment,omitempty"`
	Mode        []string    `json:"mode,omitempty"` // the engine's active mechanisms; empty for a past state
	Checkpoint  *Checkpoint `json:"checkpoint,omitempty"`
}

// LogCheck is the result of verifying the log.
type LogCheck struct {
	Events     int64      `json:"events"` // verified from the first on
	Checkpoint Checkpoint `json:"checkpoint"`
	Bad        *int64     `json:"bad,omitempty"` // index of the first bad event, where there is one
	Error      *Error     `json:"error,omitempty"`
}

// Version says which imx this is.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	System  string `json:"system"`           // "linux/amd64"
	Client  bool   `json:"client,omitempty"` // a build without the server's parts
}

// ImageView is an image that the server has, and what became of it.
type ImageView struct {
	Image

	Built time.Time  `json:"built"`          // when it was recorded first, by its build or a push
	Tags  []string   `json:"tags,omitempty"` // its names in the registry: "shop/web:v1"
	RunBy []ImageUse `json:"runBy,omitempty"`
	// Pushed says that it came from outside: then Name is its repository, and Image has no more than
	// a name and a digest.
	Pushed bool `json:"pushed,omitempty"`
}

// ImageUse is a service that runs an image, in the release with the traffic or the one on its way.
type ImageUse struct {
	Service string `json:"service"`
	Release int    `json:"release"`
	Current bool   `json:"current,omitempty"` // that release has the traffic
	Ports   []Port `json:"ports,omitempty"`   // the service's
}

// ImageDetail is all that the server knows of an image.
type ImageDetail struct {
	ImageView

	Configuration ImageConfiguration `json:"configuration"`
	Layers        []ImageLayer       `json:"layers"` // the lowest first
	Inventory     Inventory          `json:"inventory"`
	// Evidence is the newest of each type, sorted by type.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Scanned says that no inventory was kept with the image, so that it was read out of the layers:
	// which package carries a path, and what listens, isn't known then.
	Scanned bool `json:"scanned,omitempty"`
}

// ImageConfiguration is how an image wants to be run, by its OCI configuration.
type ImageConfiguration struct {
	Architecture string    `json:"architecture,omitempty"`
	Created      time.Time `json:"created,omitzero"` // of an image that imx built: its epoch
	Entrypoint   []string  `json:"entrypoint,omitempty"`
	Command      []string  `json:"command,omitempty"`
	User         string    `json:"user,omitempty"`
	Environment  []string  `json:"environment,omitempty"` // "NAME=value"
	WorkDir      string    `json:"workDir,omitempty"`
	StopSignal   string    `json:"stopSignal,omitempty"`
	Ports        []string  `json:"ports,omitempty"` // that the image says it listens on: "8080/tcp"
}

// ImageLayer is one layer of an image.
type ImageLayer struct {
	Digest    Digest `json:"digest"`
	MediaType string `json:"mediaType"`
	Size      Size   `json:"size"`           // of its compressed bytes
	Says      string `json:"says,omitempty"` // what made it, by the image's history
}
