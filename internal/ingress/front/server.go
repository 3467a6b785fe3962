// Package front is the process that answers requests from outside and hands them to instances. It is imx once more, told by Word
// to be nothing but that, without any right of its own: sockets are handed to it, and so is all that it should do. It outlives
// the server, and goes on with what it was told last while there is none. It decides nothing (package ingress does), reads no
// log of events and knows no engine.
package front

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imx"
	"imx/internal/ingress"
)

// Authority gets certificates for hosts.
type Authority interface {
	// Settle has certificates for the hosts of an ingress, and renews them, from now on. It returns before it has them.
	Settle(in imx.Ingress, hosts []string) error
	// Certificate answers a client's hello at an ingress. Errors: NotFound where it has none for the name.
	Certificate(of string, hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// Challenge answers a question of who gives the certificates, and reports whether it was one.
	Challenge(w http.ResponseWriter, r *http.Request) bool
	Certificates(of string) []imx.CertificateView
	Close()
}

// Server answers requests by the newest Config that it was given.
type Server struct {
	version   string
	started   time.Time
	authority Authority // nil: certificates are from files alone
	access    *accessLog
	quiet     *log.Logger
	proxy     *httputil.ReverseProxy
	live      atomic.Pointer[live]
	backends  backends
	counts    counts
	draining  atomic.Bool
	plugs     plugs
	sleepers  sleepers
	settling  sync.Mutex // one Config after the other
}

// live is what a Config comes to. It never changes.
type live struct {
	config       ingress.Config
	table        *ingress.Table
	ports        map[int]imx.Ingress
	certificates map[string][]certificate // by ingress
	backends     map[string]*backend
	authority    Authority
	replaced     chan struct{} // closed when there is a newer one
}

// certificate is one that files held.
type certificate struct {
	host  string
	pair  *tls.Certificate
	from  ingress.Certificate
	fault string // why there is no newer one
}

// newServer returns one that answers nothing yet.
func newServer(version string, access *accessLog, a Authority) *Server {
	s := &Server{version: version, started: time.Now().UTC(), authority: a, access: access, quiet: log.New(io.Discard, "", 0)}
	s.backends.all = map[string]*backend{}
	s.counts.all = map[target]*count{}
	s.counts.rates = ingress.NewRates(maxClients)
	s.plugs.all = map[int]*plug{}
	s.proxy = newProxy(s)
	s.live.Store(&live{table: ingress.NewTable(nil), replaced: make(chan struct{})})
	return s
}

// configure does what a Config says, from the next request on. What it can't do it returns, having done the rest.
func (s *Server) configure(c ingress.Config) error {
	s.settling.Lock()
	defer s.settling.Unlock()
	old := s.live.Load()
	next := &live{config: c, table: ingress.NewTable(c.Routes), ports: map[int]imx.Ingress{}, certificates: map[string][]certificate{}, authority: s.authority, replaced: make(chan struct{})}
	for _, in := range c.Ingresses {
		for _, port := range in.Ports() {
			next.ports[port] = in
		}
	}
	for _, one := range c.Certificates {
		next.certificates[one.Ingress] = append(next.certificates[one.Ingress], renewed(one, old.certificates[one.Ingress]))
	}
	next.backends = s.backends.settle(c)
	s.live.Store(next)
	close(old.replaced)
	var errs []error
	if s.authority != nil {
		for _, in := range c.Ingresses {
			errs = append(errs, s.authority.Settle(in, c.Managed[in.Name]))
		}
	}
	s.plugs.settle(s, next)
	return errors.Join(errs...)
}

// renewed reads a certificate, or keeps the one that there was of the host where it can't be read.
func renewed(c ingress.Certificate, before []certificate) certificate {
	made := certificate{host: c.Host, from: c, fault: c.Fault}
	i := slices.IndexFunc(before, func(o certificate) bool { return o.host == c.Host })
	if i >= 0 && (len(c.Chain) == 0 || string(before[i].from.Chain) == string(c.Chain) && string(before[i].from.Key) == string(c.Key)) {
		made.pair, made.from = before[i].pair, before[i].from
		return made
	}
	if len(c.Chain) == 0 {
		return made
	}
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	switch {
	case err == nil:
		made.pair = &pair
	case i >= 0:
		made.pair, made.from, made.fault = before[i].pair, before[i].from, err.Error()
	default:
		made.fault = err.Error()
	}
	return made
}

// certify answers a client's hello: a file's certificate comes first, the exact name before a wildcard.
func (s *Server) certify(port int, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	l := s.live.Load()
	in, ok := l.ports[port]
	name := imx.HostName(hello.ServerName)
	list := l.certificates[in.Name]
	if !ok {
		return nil, imx.Errorf(imx.NotFound, "nothing is served here")
	}
	if !slices.Contains(hello.SupportedProtos, challengeProtocol) {
		for _, exact := range []bool{true, false} {
			for _, c := range list {
				if c.pair != nil && (c.host == name || !exact && (imx.Covers(c.host, name) || name == "")) {
					return c.pair, nil
				}
			}
		}
	}
	if l.authority == nil {
		return nil, imx.Errorf(imx.NotFound, "there is no certificate for %q", name)
	}
	return l.authority.Certificate(in.Name, hello)
}

// challengeProtocol is by what a certificates' giver asks over TLS (RFC 8737).
const challengeProtocol = "acme-tls/1"

// tlsName is the version of TLS by which a request came, "" for none.
func tlsName(r *http.Request) string {
	if r.TLS == nil {
		return ""
	}
	return tls.VersionName(r.TLS.Version)
}

// status says how the server does.
func (s *Server) status() Status {
	l := s.live.Load()
	st := Status{
		Process: imx.IngressProcessView{Pid: os.Getpid(), Version: s.version, Started: s.started, Connections: s.plugs.open(), Waiting: s.sleepers.waiting()},
		Ports:   s.plugs.ports(), Counts: s.counts.list(), Suspect: l.suspects(), Config: l.config, Certificates: map[string][]imx.CertificateView{},
	}
	st.Config.Certificates = slices.Clone(st.Config.Certificates)
	for i := range st.Config.Certificates {
		st.Config.Certificates[i].Chain, st.Config.Certificates[i].Key = nil, nil
	}
	for _, in := range l.config.Ingresses {
		for _, c := range l.certificates[in.Name] {
			st.Certificates[in.Name] = append(st.Certificates[in.Name], c.view())
		}
		if l.authority != nil {
			st.Certificates[in.Name] = append(st.Certificates[in.Name], l.authority.Certificates(in.Name)...)
		}
	}
	return st
}

func (c certificate) view() imx.CertificateView {
	v := imx.CertificateView{Host: c.host, From: "file", Fault: c.fault}
	if c.pair != nil && c.pair.Leaf != nil {
		v.Until, v.Serial = c.pair.Leaf.NotAfter.UTC(), c.pair.Leaf.SerialNumber.Text(16)
	}
	return v
}

// maxClients bounds the clients whose requests are counted.
const maxClients = 1 << 16

// allow reports whether a client may ask a route once more now.
func (s *Server) allow(r ingress.Route, client netip.Addr) bool {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return s.counts.rates.Allow(r.Service+" "+r.Host+r.Prefix(), client, r.Rate, time.Now())
}

// counts are what came of requests since the process began.
type counts struct {
	mu    sync.Mutex
	all   map[target]*count
	rates *ingress.Rates
}

type target struct {
	service string
	release int
}

type count struct{ requests, errors, nanoseconds, retries atomic.Int64 }

func (cs *counts) of(t target) *count {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all[t]
	if c == nil {
		c = &count{}
		cs.all[t] = c
	}
	return c
}

func (cs *counts) list() []imx.IngressCount {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var list []imx.IngressCount
	for _, t := range slices.SortedFunc(maps.Keys(cs.all), func(a, b target) int {
		return cmp.Or(cmp.Compare(a.service, b.service), a.release-b.release)
	}) {
		c := cs.all[t]
		list = append(list, imx.IngressCount{
			Service: t.service, Release: t.release, Requests: c.requests.Load(), Errors: c.errors.Load(),
			Seconds: time.Duration(c.nanoseconds.Load()).Seconds(), Retries: c.retries.Load(),
		})
	}
	return list
}

// record notes a request after its end.
func (s *Server) record(line imx.AccessLine) {
	if line.Service != "" {
		c := s.counts.of(target{line.Service, line.Release})
		c.requests.Add(1)
		c.retries.Add(int64(line.Retries))
		c.nanoseconds.Add(int64(line.Seconds * float64(time.Second)))
		if line.Status >= http.StatusInternalServerError || line.Status == 0 {
			c.errors.Add(1)
		}
	}
	s.access.write(line)
}
