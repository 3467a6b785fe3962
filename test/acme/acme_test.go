// Package acme_test has imx get certificates from pebble, the ACME server that Let's Encrypt tests clients with, and renew them. It is a
// module of its own: pebble is nothing that imx needs.
package acme_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"imx"
	"imx/internal/ingress/acme"
)

const host = "shop.example"

// resolver answers that every name is this machine.
func resolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return l.Addr().String()
}

// pebble starts an ACME server that asks on these ports and gives certificates of so many seconds, and returns its directory and who
// vouches for it, in PEM.
func pebble(t *testing.T, httpPort, httpsPort int, seconds uint64) (directory, roots string) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "20") // as real ones do at times
	logger := log.New(t.Output(), "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "short", ValidityPeriod: seconds}})
	validation := va.New(logger, httpPort, httpsPort, true, resolver(t), store)
	front := wfe.New(logger, store, validation, authority, []string{"pebble.letsencrypt.org"}, true, false, 1, 1)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	return server.URL + wfe.DirectoryPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// serve answers questions as the ingress' process does.
func serve(t *testing.T, a *acme.Authority, plain, secure net.Listener) {
	t.Helper()
	go func() {
		_ = http.Serve(plain, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !a.Challenge(w, r) {
				http.NotFound(w, r)
			}
		}))
	}()
	server := &http.Server{
		Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1", "acme-tls/1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.Certificate("public", hello)
		}},
	}
	go func() { _ = server.ServeTLS(secure, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
}

// shown is the serial number of the certificate that a client sees, "" for none.
func shown(port net.Addr) string {
	conn, err := tls.Dial("tcp", port.String(), &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

func TestCertificatesAreGivenByEitherKindOfQuestionAndRenewedAndKept(t *testing.T) {
	for name, has := range map[string]struct{ http, https bool }{"http-01": {true, false}, "tls-alpn-01": {false, true}} {
		t.Run(name, func(t *testing.T) {
			plain, httpPort := listen(t)
			secure, httpsPort := listen(t)
			directory, roots := pebble(t, httpPort, httpsPort, 24)
			folder, err := os.OpenRoot(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			a := acme.Open(folder, 500*time.Millisecond)
			serve(t, a, plain, secure)
			in := imx.Ingress{Name: "public", ACME: &imx.ACME{Email: "ops@shop.example", Directory: directory, Roots: roots}}
			if has.http {
				in.HTTP = httpPort
			}
			if has.https {
				in.HTTPS = httpsPort
			}
			if err := a.Settle(in, []string{host}); err != nil {
				t.Fatal(err)
			}
			until(t, "there is a certificate", func() bool { return shown(secure.Addr()) != "" })
			first := shown(secure.Addr())
			if views := a.Certificates("public"); len(views) != 1 || views[0].Serial != first || views[0].From != directory || time.Until(views[0].Until) > 25*time.Second {
				t.Errorf("%+v", views)
			}
			until(t, "it is renewed", func() bool { now := shown(secure.Addr()); return now != "" && now != first })
			a.Close()

			// Another process, of the same folder, has it at once, as it is kept.
			other := acme.Open(folder, time.Hour)
			defer other.Close()
			if err := other.Settle(in, []string{host}); err != nil {
				t.Fatal(err)
			}
			until(t, "what is kept is shown", func() bool {
				return len(other.Certificates("public")) == 1 && other.Certificates("public")[0].Serial != ""
			})
		})
	}
}

func TestWhoIsNotVouchedForGivesNothingAndThatIsSaid(t *testing.T) {
	_, httpPort := listen(t)
	directory, _ := pebble(t, httpPort, httpPort, 24)
	folder, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := acme.Open(folder, 0)
	defer a.Close()
	in := imx.Ingress{Name: "public", HTTP: httpPort, ACME: &imx.ACME{Directory: directory, Roots: stranger(t)}}
	if err := a.Settle(in, []string{host}); err != nil {
		t.Fatal(err)
	}
	until(t, "the fault is shown", func() bool {
		views := a.Certificates("public")
		return len(views) == 1 && strings.Contains(views[0].Fault, "certificate signed by unknown authority")
	})
	in.ACME = &imx.ACME{Directory: directory, Roots: "nothing"}
	if err := a.Settle(in, []string{host}); imx.KindOf(err) != imx.Invalid {
		t.Errorf("%v", err)
	}
}

// stranger is a certificate that vouches for nobody here.
func stranger(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	like := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
