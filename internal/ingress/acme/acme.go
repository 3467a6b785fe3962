// Package acme gets certificates from whoever gives them by RFC 8555, renews them, and keeps them in a folder. It listens nowhere:
// who answers on the ports hands it the questions that are meant for it.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"imx"
)

// Authority gets certificates for the hosts of ingresses. Its methods may be called from several goroutines at once.
type Authority struct {
	storage *storage
	cache   *certmagic.Cache
	log     *zap.Logger

	mu     sync.Mutex
	sites  map[string]*site  // by ingress
	faults map[string]string // by host: why there is no certificate, or no newer one
}

// site is an ingress with hosts to be certified.
type site struct {
	as     imx.Ingress
	hosts  []string
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	cancel context.CancelFunc
}

// Open returns an Authority that keeps what it has in a folder, which others may use at the same time. Every so often, or every ten
// minutes for 0, it looks for certificates to renew. Close ends it.
func Open(folder *os.Root, look time.Duration) *Authority {
	a := &Authority{storage: &storage{root: folder}, log: zap.NewNop(), sites: map[string]*site{}, faults: map[string]string{}}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: a.configOf, RenewCheckInterval: look, Logger: a.log,
	})
	return a
}

// Close ends the renewals.
func (a *Authority) Close() {
	a.mu.Lock()
	for _, s := range a.sites {
		s.cancel()
	}
	a.mu.Unlock()
	a.cache.Stop()
}

// configOf is by what a certificate is renewed: as the ingress says that has its host.
func (a *Authority) configOf(cert certmagic.Certificate) (*certmagic.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sites {
		if slices.ContainsFunc(cert.Names, func(name string) bool { return slices.Contains(s.hosts, name) }) {
			return s.config, nil
		}
	}
	return nil, imx.Errorf(imx.NotFound, "no ingress has %v any more", cert.Names)
}

// Settle has certificates for the hosts of an ingress from now on, and renews them. It returns before it has them; until then, and
// where it can't get one, Certificates tells. Errors: Invalid for roots that are none.
func (a *Authority) Settle(in imx.Ingress, hosts []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.sites[in.Name]
	if in.ACME == nil || len(hosts) == 0 {
		if old != nil {
			old.cancel()
			delete(a.sites, in.Name)
		}
		return nil
	}
	if old != nil && slices.Equal(old.hosts, hosts) && old.like(in) {
		return nil
	}
	s, err := a.site(in, hosts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // it lasts as long as the ingress has these hosts
	s.cancel = cancel
	if old != nil {
		old.cancel()
	}
	a.sites[in.Name] = s
	go func() { // it reads what is kept first, and returns before anything is asked for
		if err := s.config.ManageAsync(ctx, hosts); err != nil && ctx.Err() == nil {
			for _, host := range hosts {
				a.fault(host, err)
			}
		}
	}()
	return nil
}

// like reports whether an ingress is certified in the same way.
func (s *site) like(in imx.Ingress) bool {
	return *s.as.ACME == *in.ACME && s.as.HTTP == in.HTTP && s.as.HTTPS == in.HTTPS
}

func (a *Authority) site(in imx.Ingress, hosts []string) (*site, error) {
	var roots *x509.CertPool
	if in.ACME.Roots != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(in.ACME.Roots)) {
			return nil, imx.Errorf(imx.Invalid, "the roots of the ACME server of ingress %s hold no certificate", in.Name).
				WithHint(`write roots = file("roots.pem"), with certificates in PEM`)
		}
	}
	s := &site{as: in, hosts: slices.Clone(hosts)}
	s.config = certmagic.New(a.cache, certmagic.Config{Storage: a.storage, Logger: a.log, OnEvent: a.heard})
	s.issuer = certmagic.NewACMEIssuer(s.config, certmagic.ACMEIssuer{
		CA: in.ACME.Directory, Email: in.ACME.Email, Agreed: true, TrustedRoots: roots, Logger: a.log,
		DisableHTTPChallenge: in.HTTP == 0, AltHTTPPort: in.HTTP, DisableTLSALPNChallenge: in.HTTPS == 0, AltTLSALPNPort: in.HTTPS,
	})
	s.config.Issuers = []certmagic.Issuer{s.issuer}
	return s, nil
}

// heard notes what becomes of certificates.
func (a *Authority) heard(_ context.Context, event string, data map[string]any) error {
	host, _ := data["identifier"].(string)
	switch event {
	case "cert_obtained":
		a.fault(host, nil)
	case "cert_failed":
		err, ok := data["error"].(error)
		if !ok {
			err = errors.New("it wasn't given")
		}
		a.fault(host, err)
	}
	return nil
}

func (a *Authority) fault(host string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.faults, host)
		return
	}
	a.faults[host] = err.Error()
}

// Certificate answers a client's hello at an ingress, also that of who asks whether the host is ours. Errors: NotFound where there is none for
// the name.
func (a *Authority) Certificate(ingress string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	s := a.sites[ingress]
	a.mu.Unlock()
	if s == nil {
		return nil, imx.Errorf(imx.NotFound, "there is no certificate for %q", hello.ServerName)
	}
	cert, err := s.config.GetCertificate(hello)
	if err != nil {
		return nil, imx.Errorf(imx.NotFound, "there is no certificate for %q: %w", hello.ServerName, err)
	}
	return cert, nil
}

// Challenge answers a request of who asks whether a host is ours, and reports whether it was one.
func (a *Authority) Challenge(w http.ResponseWriter, r *http.Request) bool {
	if !certmagic.LooksLikeHTTPChallenge(r) {
		return false
	}
	a.mu.Lock()
	var issuers []*certmagic.ACMEIssuer
	for _, s := range a.sites {
		issuers = append(issuers, s.issuer)
	}
	a.mu.Unlock()
	return slices.ContainsFunc(issuers, func(i *certmagic.ACMEIssuer) bool { return i.HandleHTTPChallenge(w, r) })
}

// Certificates tells how it stands with the hosts of an ingress.
func (a *Authority) Certificates(ingress string) []imx.CertificateView {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sites[ingress]
	if s == nil {
		return nil
	}
	var views []imx.CertificateView
	for _, host := range s.hosts {
		v := imx.CertificateView{Host: host, From: s.as.ACME.Directory, Fault: a.faults[host]}
		for _, cert := range a.cache.AllMatchingCertificates(host) {
			if leaf := cert.Leaf; leaf != nil && leaf.NotAfter.After(v.Until) {
				v.Until, v.Serial = leaf.NotAfter.UTC(), fmt.Sprintf("%x", leaf.SerialNumber)
			}
		}
		views = append(views, v)
	}
	return views
}
