package imx

import "time"

// Counted is what is known of a release's answers over a time: the increases of its own metrics, over all its instances,
// and imx's probes.
type Counted struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"`
	Seconds  float64 `json:"seconds,omitempty"` // the sum of how long those of Timed took
	Timed    float64 `json:"timed,omitempty"`
	// Probed and Missed count imx's own connections through the service's address. They reach either release: they
	// are held against the one that is on its way. Miss is why the last one that failed did.
	Probed int    `json:"probed,omitempty"`
	Missed int    `json:"missed,omitempty"`
	Miss   string `json:"miss,omitempty"`
	// Missing is why the metrics couldn't be read; "" if they could, or nothing asks for them.
	Missing string `json:"missing,omitempty"`
}

// RolloutView is how a service's rollout stands at this moment. What was counted isn't on the log: a server that starts
// anew counts anew.
type RolloutView struct {
	Service string  `json:"service"`
	Current int     `json:"current"` // as of Service
	Target  int     `json:"target"`
	Routes  Weights `json:"routes,omitempty"` // the traffic's shares
	Rollout Rollout `json:"rollout,omitzero"`
	// Counted is what was counted by release: since the rollout's step; of a service that has finished since then, and of the
	// release before over all that is known of it.
	Counted map[int]Counted `json:"counted,omitempty"`
	// Until is the end of the window in which Current may be gone back from by itself; zero while a rollout is under way.
	Until time.Time `json:"until,omitzero"`
	// Outcome and Verdict are what the counts come to: "too little", "worse" or "not worse", and why in one line. Both are
	// "" where nothing is judged now.
	Outcome string `json:"outcome,omitempty"`
	Verdict string `json:"verdict,omitempty"`
}
