package imx

// What happens on the way from a template to releases, and to services.
type (
	// SuiteSeen records an index of a suite that was verified; older ones than the newest are refused.
	SuiteSeen struct {
		Suite    LockedSuite `json:"suite"`
		Codename string      `json:"codename,omitempty"` // by the index; "" where it is the suite's name
	}
	// ApplyStarted begins an apply. Only one is open at a time.
	ApplyStarted struct {
		Apply  string `json:"apply"`
		Plan   Digest `json:"plan"`
		Source Source `json:"source"`
	}
	// ImageBuilt says that a build made an image, or found it already made by another; or that it was brought from another environment, as it was built there.
	ImageBuilt struct {
		Image Image  `json:"image"`
		From  string `json:"from,omitempty"` // that environment; "" for what was built here
	}
	// Applied ends an apply: all its releases come into being in this one event, or none does.
	Applied struct {
		Apply    string    `json:"apply"`
		Releases []Release `json:"releases,omitempty"` // of services where something but Replicas changed
		// Replicas of services whose number changed. Where a release is rolled out with it, it only
		// stays if that gets good.
		Replicas map[string]int `json:"replicas,omitempty"`
		// Ingresses are those that are new, or otherwise than before.
		Ingresses []Ingress `json:"ingresses,omitempty"`
	}
	// ApplyFailed ends an apply that made no release.
	ApplyFailed struct {
		Apply string `json:"apply"`
		Error *Error `json:"error"`
	}
	// RolloutFinished says that the service's target has all the traffic and became current, and its
	// number of instances with it.
	RolloutFinished struct {
		Service string `json:"service"`
		Release int    `json:"release"`
	}
	// RolloutFailed gives a rollout up: the target goes back to the current release and its number
	// of instances.
	RolloutFailed struct {
		Service string `json:"service"`
		Release int    `json:"release"`
		Reason  string `json:"reason"`
	}
	// RolledBack makes an earlier good release the target again, with as many instances as the
	// current one has, or one where the earlier release holds a volume.
	RolledBack struct {
		Service string `json:"service"`
		From    int    `json:"from"`
		To      int    `json:"to"`
		Reason  string `json:"reason,omitempty"`
	}
	// TrafficMoved says that the engine's routes of a service changed.
	TrafficMoved struct {
		Service string  `json:"service"`
		Weights Weights `json:"weights,omitempty"`
	}
	// Scaled changes how many instances a service has, of its target and of its current release.
	Scaled struct {
		Service  string `json:"service"`
		Replicas int    `json:"replicas"`
		Reason   string `json:"reason,omitempty"` // why, where imx did it by itself
		// Denied says that the policy doesn't allow its release any more: what the service had is remembered, for when it does again.
		Denied bool `json:"denied,omitempty"`
	}
	// Destroyed takes a service down.
	Destroyed struct {
		Service string `json:"service"`
		Volumes bool   `json:"volumes,omitempty"` // its volumes too
	}
	// Removed says that nothing is left of a destroyed service but its kept volumes and its name.
	Removed struct {
		Service string `json:"service"`
	}
)

func (SuiteSeen) kind() string       { return "suite-seen" }
func (ApplyStarted) kind() string    { return "apply-started" }
func (ImageBuilt) kind() string      { return "image-built" }
func (Applied) kind() string         { return "applied" }
func (ApplyFailed) kind() string     { return "apply-failed" }
func (RolloutFinished) kind() string { return "rollout-finished" }
func (RolloutFailed) kind() string   { return "rollout-failed" }
func (RolledBack) kind() string      { return "rolled-back" }
func (TrafficMoved) kind() string    { return "traffic-moved" }
func (Scaled) kind() string          { return "scaled" }
func (Destroyed) kind() string       { return "destroyed" }
func (Removed) kind() string         { return "removed" }
