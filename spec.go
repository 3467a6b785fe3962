package imx

import "slices"

// PortRef names a port of a service, as service.db.port.pg does in a template.
type PortRef struct {
	Service string `json:"service"`
	Port    string `json:"port"`
	At      Pos    `json:"at,omitzero"`
}

// Spec is a service block of a template: all that is the same for each of its instances.
type Spec struct {
	Name        string            `json:"name"`
	Image       string            `json:"image"` // name of an ImageSpec
	Replicas    int               `json:"replicas"`
	Command     []string          `json:"command,omitempty"`     // empty means the image's
	Environment map[string]string `json:"environment,omitempty"` // laid over the image's
	Files       []File            `json:"files,omitempty"`
	Tmpfs       []Tmpfs           `json:"tmpfs,omitempty"`
	Volumes     []Volume          `json:"volumes,omitempty"`
	Ports       []Port            `json:"ports,omitempty"`
	Connect     []PortRef         `json:"connect,omitempty"`
	Health      Health            `json:"health"`
	Resources   Resources         `json:"resources"`
	Drain       Duration          `json:"drain"`            // how long an instance without traffic may finish what it began
	Grace       Duration          `json:"grace"`            // from the stop signal to SIGKILL
	Deadline    Duration          `json:"deadline"`         // by when a new release must be healthy, or it failed
	Deploy      *Deploy           `json:"deploy,omitempty"` // nil means DefaultDeploy
	Routes      []Route           `json:"routes,omitempty"` // by which requests come from outside
	Scale       *Scaling          `json:"scale,omitempty"`  // nil: only people change the number of instances
	At          Pos               `json:"at,omitzero"`
}

// Exclusive reports whether only one instance may run at a time: a volume has one holder. Such a
// service can't have more than one replica, and is replaced stop-then-start where both releases
// hold the volume (see Shares).
func (s Spec) Exclusive() bool { return len(s.Volumes) > 0 }

// Shares reports whether an instance of s and one of o, both of one service, would hold the same
// volume: the one must be gone before the other starts.
func (s Spec) Shares(o Spec) bool {
	return slices.ContainsFunc(s.Volumes, func(v Volume) bool {
		return slices.ContainsFunc(o.Volumes, func(w Volume) bool { return v.Name == w.Name })
	})
}

// Port is a port that a service listens on (TCP).
type Port struct {
	Name      string `json:"name"`
	Container int    `json:"container"`         // the port inside the instance
	Publish   int    `json:"publish,omitempty"` // the port on the machine's own addresses; 0 means none
	At        Pos    `json:"at,omitzero"`
}

// Tmpfs is a writable directory in memory that ends with its instance.
type Tmpfs struct {
	Path  string `json:"path"`
	Size  Size   `json:"size"`
	Mode  Mode   `json:"mode,omitempty"` // 0 means 0700 owned by the image's user, 1777 for /tmp
	Owner string `json:"owner,omitempty"`
	At    Pos    `json:"at,omitzero"`
}

// Volume is a named directory that outlives instances. It belongs to its service.
type Volume struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Owner string `json:"owner,omitempty"` // "" means the image's user
	At    Pos    `json:"at,omitzero"`
}

// Health is how an instance is asked whether it can take traffic. Exactly one of HTTP, TCP, GRPC and Command is
// set; none is set only for a service without ports, which is healthy while its process runs.
type Health struct {
	Every    Duration      `json:"every"`
	Timeout  Duration      `json:"timeout"`
	Failures int           `json:"failures"` // so many failed checks in a row make it unhealthy
	HTTP     *HTTPCheck    `json:"http,omitempty"`
	TCP      *TCPCheck     `json:"tcp,omitempty"`
	GRPC     *GRPCCheck    `json:"grpc,omitempty"`
	Command  *CommandCheck `json:"command,omitempty"`
	// Start is how an instance is asked until it was healthy once; nil means as later.
	Start    *Pace `json:"start,omitempty"`
	Inferred bool  `json:"inferred,omitempty"` // the template had none; the plan says so
}

// Pace is how often an instance that starts is asked, and for how long it may fail.
type Pace struct {
	Every   Duration `json:"every,omitempty"`   // 0 means as later, or more often
	Timeout Duration `json:"timeout,omitempty"` // of one question; 0 means as later
	// Within is how long after its start it has to be healthy; then it is replaced. 0 means the service's Deadline.
	Within Duration `json:"within,omitempty"`
}

// GRPCCheck passes when the health service on Port (grpc.health.v1) answers SERVING.
type GRPCCheck struct {
	Port    string `json:"port"`              // name of a Port
	Service string `json:"service,omitempty"` // as the health service knows it; "" asks for the whole server
}

// CommandCheck passes when a command, run inside the instance with its rights and limits, exits with 0.
type CommandCheck struct {
	Command []string `json:"command"`
}

// HTTPCheck passes when a GET of Path on Port answers Status.
type HTTPCheck struct {
	Port   string `json:"port"` // name of a Port
	Path   string `json:"path"`
	Status int    `json:"status"` // 0 means any from 200 to 399
}

// TCPCheck passes when Port accepts a connection.
type TCPCheck struct {
	Port string `json:"port"`
}

// Resources are an instance's limits; zero means imx's default, never "no limit".
type Resources struct {
	CPU    float64 `json:"cpu,omitempty"`    // cores
	Memory Size    `json:"memory,omitempty"` // bytes
	Pids   int     `json:"pids,omitempty"`   // processes and threads
}
