package imx

import "time"

// IngressView is how it stands with an ingress.
type IngressView struct {
	Ingress Ingress `json:"ingress"`
	// Listening are the ports on which it answers; what keeps it from another is among Faults.
	Listening    []int              `json:"listening,omitempty"`
	Routes       []RouteView        `json:"routes,omitempty"`
	Certificates []CertificateView  `json:"certificates,omitempty"`
	Faults       []string           `json:"faults,omitempty"`
	Process      IngressProcessView `json:"process,omitzero"`
}

// RouteView is a route that is in force, and how it does.
type RouteView struct {
	Route     Route          `json:"route"`
	Service   string         `json:"service"`
	Release   int            `json:"release"`           // that it is of
	Instances int            `json:"instances"`         // that take requests
	Suspect   []string       `json:"suspect,omitempty"` // of those, what lately failed to answer, by id
	Counts    []IngressCount `json:"counts,omitempty"`  // by release, since the process began
}

// IngressCount is what came of requests to a service's release.
type IngressCount struct {
	Service  string  `json:"service"`
	Release  int     `json:"release"` // 0: no instance could be reached
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`  // answered with 500 or more
	Seconds  float64 `json:"seconds"` // of all together
	Retries  int64   `json:"retries"`
}

// CertificateView is a certificate that is shown to clients.
type CertificateView struct {
	Host   string    `json:"host"`
	From   string    `json:"from"` // "file" or the ACME directory
	Until  time.Time `json:"until,omitzero"`
	Serial string    `json:"serial,omitempty"`
	Fault  string    `json:"fault,omitempty"` // why there is none, or no newer one
}

// IngressProcessView is the process that answers; it outlives the server.
type IngressProcessView struct {
	Pid         int       `json:"pid"`
	Version     string    `json:"version"`
	Started     time.Time `json:"started"`
	Connections int       `json:"connections"`
	Waiting     int       `json:"waiting,omitempty"` // requests, for services that sleep
	// Lost is the latest end of a process that nobody wanted, since the server began; nil if there was none.
	Lost *IngressProcessEnd `json:"lost,omitempty"`
}

// IngressProcessEnd is the end of a process that answered.
type IngressProcessEnd struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
	Count  int       `json:"count"` // with those before it
}

// AccessLine is a line of an ingress' access log: one request, after its end.
type AccessLine struct {
	Time     time.Time `json:"time"`
	Ingress  string    `json:"ingress"`
	Client   string    `json:"client"`
	Host     string    `json:"host"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Protocol string    `json:"protocol"`
	TLS      string    `json:"tls,omitempty"`
	Status   int       `json:"status"`
	Bytes    int64     `json:"bytes"`
	Seconds  float64   `json:"seconds"`
	Target
	Retries int    `json:"retries,omitempty"`
	Fault   string `json:"fault,omitempty"`
}

// Target is what answered a request; zero where the ingress did by itself.
type Target struct {
	Service  string `json:"service,omitempty"`
	Release  int    `json:"release,omitempty"`
	Instance string `json:"instance,omitempty"`
}
