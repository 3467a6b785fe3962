package imx

import (
	"net"
	"strings"
	"time"
)

// Ingress is where requests come in from outside: ports of the machine, TLS, and what holds for all that comes in there. It
// belongs to the environment; what is reached through it, a Route, belongs to a service's release.
type Ingress struct {
	Name string `json:"name"`
	// HTTP and HTTPS are ports of the machine; 0 means none. With both, what comes to HTTP is told to come to HTTPS.
	HTTP         int                `json:"http,omitempty"`
	HTTPS        int                `json:"https,omitempty"`
	Certificates []CertificateFiles `json:"certificates,omitempty"`
	ACME         *ACME              `json:"acme,omitempty"` // for hosts that no file has a certificate of; nil: there are none
	Limits       IngressLimits      `json:"limits"`
	At           Pos                `json:"at,omitzero"`
}

// CertificateFiles are files on the server's machine. They are read again when they change.
type CertificateFiles struct {
	Host        string `json:"host"`        // as in a Route
	Certificate string `json:"certificate"` // path of a PEM file, the host's own certificate first
	Key         string `json:"key"`         // path of a PEM file
	At          Pos    `json:"at,omitzero"`
}

// ACME says who gives certificates to the hosts that have none.
type ACME struct {
	Email     string `json:"email,omitempty"`
	Directory string `json:"directory"`       // URL
	Roots     string `json:"roots,omitempty"` // PEM: who may vouch for the directory; "" means the machine's
}

// IngressLimits bound what clients may take. Zero means imx's default, never "no limit".
type IngressLimits struct {
	Connections   int      `json:"connections,omitempty"`   // open at a time
	PerClient     int      `json:"perClient,omitempty"`     // of those, from one address
	Header        Size     `json:"header,omitempty"`        // of a request
	HeaderTimeout Duration `json:"headerTimeout,omitempty"` // by when a request's header is there
	Idle          Duration `json:"idle,omitempty"`          // how long a connection may wait for its next request
}

// Route brings requests to a service. Of several routes that match, an exact host comes before a wildcard, and then the
// longest path.
type Route struct {
	Host    string `json:"host"`           // "shop.example"; "*.shop.example" stands for one label; "*" for any host
	Ingress string `json:"ingress"`        // by name
	Port    string `json:"port"`           // name of one of the service's ports
	Path    string `json:"path,omitempty"` // "/api" and all below; "" means "/"
	// Strip takes Path off the request's path before the service sees it.
	Strip    bool     `json:"strip,omitempty"`
	Protocol string   `json:"protocol,omitempty"` // that the instances speak: "http" or "h2c"; "" means "http"
	Retries  *int     `json:"retries,omitempty"`  // on other instances; nil means DefaultRetries
	Timeout  Duration `json:"timeout,omitempty"`  // until the response begins; 0 means DefaultRouteTimeout
	Body     Size     `json:"body,omitempty"`     // the most that a request may have; 0 means DefaultRouteBody
	Rate     int      `json:"rate,omitempty"`     // requests a second of one client; 0 means any number
	HSTS     Duration `json:"hsts,omitempty"`     // how long browsers are to come by HTTPS alone; 0 doesn't say so
	At       Pos      `json:"at,omitzero"`
}

// What holds where a route or an ingress says nothing.
const (
	DefaultRetries      = 2
	DefaultRouteTimeout = Duration(time.Minute)
	DefaultRouteBody    = Size(10 << 20)

	DefaultConnections   = 10_000
	DefaultPerClient     = 1_000
	DefaultHeader        = Size(32 << 10)
	DefaultHeaderTimeout = Duration(10 * time.Second)
	DefaultIdle          = Duration(2 * time.Minute)
)

// LetsEncrypt is the directory of an ACME block that names none.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Prefix is the route's Path without its last slash: "" for all paths.
func (r Route) Prefix() string { return strings.TrimSuffix(r.Path, "/") }

// Covers reports whether a certificate or a route of a host, which may be a wildcard, is for a name.
func Covers(host, name string) bool {
	if host == name || host == "*" {
		return true
	}
	suffix, ok := strings.CutPrefix(host, "*.")
	label, rest, found := strings.Cut(name, ".")
	return ok && found && label != "" && label != "*" && rest == suffix
}

// Certified reports whether the ingress has, or gets, a certificate for a route's host.
func (in Ingress) Certified(host string) bool {
	if in.ACME != nil && !strings.Contains(host, "*") {
		return true
	}
	for _, c := range in.Certificates {
		if Covers(c.Host, host) {
			return true
		}
	}
	return false
}

// Ports are those of the machine that the ingress has to itself.
func (in Ingress) Ports() []int {
	var ports []int
	for _, p := range []int{in.HTTP, in.HTTPS} {
		if p != 0 {
			ports = append(ports, p)
		}
	}
	return ports
}

// HostName is the name that a request or a client's hello asks for, as routes have it: without port and in lower case.
func HostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// IngressRemoved takes an ingress down.
type IngressRemoved struct {
	Ingress string `json:"ingress"`
}

func (IngressRemoved) kind() string { return "ingress-removed" }
