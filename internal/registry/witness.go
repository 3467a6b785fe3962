package registry

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"imx"
	"imx/internal/grant"
)

// witness writes down what is read by way of a door. What was read is told by the manifest; blobs are written down where whoever reads them
// pulled no manifest lately, within this hour and the one before, that names them. Who asks by HEAD reads nothing.
type witness struct {
	door     Door
	registry *Registry

	mu          sync.Mutex
	begins      time.Time // the hour of now
	now, before pulled
}

// reader is who reads, and where.
type reader struct {
	by         imx.Principal
	from       string // of those without a token, who are one principal
	repository string
}

// pulled is what readers have a manifest of. It is bounded: of what was forgotten, blobs are written down.
type pulled struct {
	manifests map[reader]map[imx.Digest]bool // whether its blobs are in blobs
	blobs     map[reader]map[imx.Digest]bool
	size      int
}

// mostPulled is how many manifests and blobs of an hour are known.
const mostPulled = 50_000

func newPulled() pulled {
	return pulled{manifests: map[reader]map[imx.Digest]bool{}, blobs: map[reader]map[imx.Digest]bool{}}
}

// put notes a digest, if there is room.
func (p *pulled) put(to map[reader]map[imx.Digest]bool, who reader, d imx.Digest, says bool) {
	if to[who] == nil {
		to[who] = map[imx.Digest]bool{}
	}
	if _, known := to[who][d]; known || p.size < mostPulled {
		if !known {
			p.size++
		}
		to[who][d] = says
	}
}

// note writes down what a request read, or that it pushed a manifest.
func (w *witness) note(req *http.Request, v Visitor, seen *answered) {
	if w.door.Audit == nil {
		return
	}
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	switch {
	case req.Method == http.MethodGet && (seen.status == http.StatusOK || seen.status == http.StatusPartialContent):
		if repo, ref, ok := cutLast(path, "/manifests/"); ok {
			w.manifest(imx.RegistryPull{By: v.By, From: from(req), Repository: repo}, ref, seen)
		} else if repo, ref, ok := cutLast(path, "/blobs/"); ok {
			w.blob(imx.RegistryPull{By: v.By, From: from(req), Repository: repo}, imx.Digest(ref))
		}
	case req.Method == http.MethodPut && seen.status == http.StatusCreated:
		if repo, ref, ok := cutLast(path, "/manifests/"); ok {
			w.manifest(imx.RegistryPull{By: v.By, From: from(req), Repository: repo, Push: true}, ref, seen)
		}
	case req.Method == http.MethodPost && seen.status == http.StatusCreated && req.URL.Query().Get("mount") != "":
		query := req.URL.Query() // the blob can be read elsewhere from now on
		w.blob(imx.RegistryPull{By: v.By, From: from(req), Repository: query.Get("from")}, imx.Digest(query.Get("mount")))
	}
}

func (w *witness) manifest(p imx.RegistryPull, ref string, seen *answered) {
	d := imx.Digest(seen.Header().Get("Docker-Content-Digest"))
	if !strings.Contains(ref, ":") {
		p.Tag = ref
	}
	// One by SHA-512 is left out: what was pulled then is told by the name that it was asked for.
	if got, err := imx.ParseDigest(string(d)); err == nil {
		p.Digest = got
	} else {
		p.Tag = ref
	}
	w.door.Audit.Note(p)
	if p.Push {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	who := readerOf(p)
	if _, known := w.now.manifests[who][d]; !known {
		w.now.put(w.now.manifests, who, d, false)
	}
}

func readerOf(p imx.RegistryPull) reader {
	if p.By != grant.Anonymous {
		p.From = ""
	}
	return reader{p.By, p.From, p.Repository}
}

// blob writes down a blob, unless whoever reads it pulled its manifest lately.
func (w *witness) blob(p imx.RegistryPull, d imx.Digest) {
	if w.covers(readerOf(p), d) {
		return
	}
	p.Blobs = true
	p.Digest, _ = imx.ParseDigest(string(d)) // one by SHA-512 is left out
	w.door.Audit.Note(p)
}

// covers reports whether a reader pulled a manifest lately that names a blob.
func (w *witness) covers(who reader, d imx.Digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn()
	for _, p := range []*pulled{&w.now, &w.before} {
		for m, known := range p.manifests[who] {
			if known {
				continue
			}
			for _, b := range w.blobsOf(who.repository, m) {
				p.put(p.blobs, who, b, true)
			}
			p.manifests[who][m] = true
		}
		if p.blobs[who][d] {
			return true
		}
	}
	return false
}

// blobsOf are those that a manifest names; none where it can't be read any more.
func (w *witness) blobsOf(repo string, d imx.Digest) []imx.Digest {
	_, kept, err := w.registry.manifestMark(repo, d)
	if err != nil {
		return nil
	}
	m, ok := w.registry.whole(kept)
	if !ok {
		return nil
	}
	var all []imx.Digest
	for _, b := range m.blobs() {
		all = append(all, imx.Digest(b.Digest))
	}
	return all
}

// turn goes on to the next hour when it has come. mu is held.
func (w *witness) turn() {
	begins := w.door.Now().Truncate(time.Hour)
	if begins.Equal(w.begins) {
		return
	}
	w.before = w.now
	if !begins.Equal(w.begins.Add(time.Hour)) {
		w.before = newPulled()
	}
	w.begins, w.now = begins, newPulled()
}
