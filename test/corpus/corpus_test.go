// Package corpus proves that imx builds and runs any Debian server software. Each folder has a template of one image and
// one service, to be read and copied as an example. TestCorpus has a real server build and run each
// of them, speaks the software's own protocol to it, and looks at the least privilege of what runs.
package corpus_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	atOnce     = 2                // folders, as each keeps a processor busy
	buildLimit = 5 * time.Minute  // of one image, downloads included
	applyLimit = 2 * time.Minute  // until a release is good or has failed; templates have deadlines of their own
	checkLimit = 30 * time.Second // of one check
)

// checks are the checks by folder: each speaks the software's own protocol to an address, a host and a port.
func checks() map[string]func(ctx context.Context, address string) error {
	all := checksA()
	maps.Copy(all, checksB())
	return all
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and runs server software of a whole archive")
	}
	if os.Geteuid() != 0 {
		t.Skip("a server that runs instances needs root")
	}
	templates, err := filepath.Glob("*/*.imx.hcl")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	s := startServer(t)
	slots := make(chan struct{}, atOnce)
	for i, template := range templates {
		name := filepath.Base(filepath.Dir(template))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			check := checks()[name]
			if check == nil {
				t.Fatal("nothing checks it: add a function to those of checks()")
			}
			s.prove(t, name, firstPort+i*portsEach, check)
		})
	}
}

// prove builds, runs, checks and destroys one folder.
func (s *server) prove(t *testing.T, name string, port int, check func(context.Context, string) error) {
	t.Helper()
	folder, address := s.copied(t, name, port)
	begun := time.Now()
	image := s.build(t, folder)
	built := time.Now()
	s.apply(t, folder, name)
	defer s.destroy(t, name)
	t.Logf("%-24s %9s  %5d files  %3d packages  built in %.1f s, healthy after %.1f s",
		name, image.Size, image.Files, image.Packages, built.Sub(begun).Seconds(), time.Since(built).Seconds())
	ctx, cancel := context.WithTimeout(t.Context(), checkLimit)
	defer cancel()
	if err := check(ctx, address); err != nil {
		t.Errorf("%s on %s: %v\n%s", name, address, err, s.lastLines(name))
	}
	http.DefaultClient.CloseIdleConnections() // so that nothing keeps the instance from ending
	for _, in := range s.instances(t, name) {
		leastPrivilege(t, in)
	}
}
