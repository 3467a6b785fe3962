package imx

// Why is the chain from an instance back to what a person wrote, each link naming its
// predecessor by digest.
type Why struct {
	Instance  Instance  `json:"instance"`
	Release   Release   `json:"release"`
	Image     Image     `json:"image"`
	ImagePlan ImagePlan `json:"imagePlan"` // what the image was made from
	Plan      Digest    `json:"plan"`
	Source    Source    `json:"source"`
	Events    []Event   `json:"events"` // the events that made it, in order
}

// Status is what `imx status` shows.
type Status struct {
	Version    string      `json:"version"`
	State      State       `json:"state"`
	Mode       []string    `json:"mode,omitempty"` // the engine's active mechanisms; empty for a past state
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
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
