package registry_test

// The trail has to tell who read what, also to those whom somebody with bad intent tried to keep that from.

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imx"
	"imx/internal/registry"
)

func TestTheTrailIsBoundedAndSurvivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	a, err := registry.OpenAudit(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	registry.LimitAudit(a, 2000, 1000, 1000)
	for i := range 200 {
		a.Note(imx.RegistryPull{By: "ci", Repository: fmt.Sprint("app", i)})
	}
	a.Note(imx.RegistryPull{By: "ci", Repository: "app199"})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := registry.OpenAudit(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	lines, err := again.Read(time.Time{})
	if err != nil || len(lines) < 2 || lines[len(lines)-1].Count != 1 || lines[len(lines)-2].Repository != "app199" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 { // and one for refusals
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Size() > 2000 {
			t.Errorf("%s has %d bytes", e.Name(), st.Size())
		}
	}
}

func TestAFloodOfRefusalsPushesOutNoPullAndIsCounted(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	a, err := registry.OpenAudit(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	registry.LimitAudit(a, 10_000, 5, 8)
	a.Note(imx.RegistryPull{By: "ops", From: "192.0.2.1", Repository: "team/app", Tag: "v1"})
	const flood = 5000
	for i := range flood {
		by := imx.Principal("anonymous")
		if i%10 == 9 {
			by = imx.Principal(fmt.Sprint("stranger", i%100))
		}
		a.Note(imx.RegistryPull{By: by, From: fmt.Sprint("192.0.2.", i%250), Repository: fmt.Sprint("guess", i), Refused: "to pull a token is needed"})
	}
	lines, err := a.Read(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	pulls, refused := 0, int64(0)
	for _, l := range lines {
		if l.Refused == "" {
			pulls++
			continue
		}
		if l.Count == 0 {
			l.Count = 1
		}
		refused += l.Count
	}
	if pulls != 1 || refused != flood || len(lines) > 20 {
		t.Errorf("%d pulls and %d refusals in %d lines", pulls, refused, len(lines))
	}
}

func TestOneWhoPullsEverOtherThingsPushesOutNobodyElse(t *testing.T) {
	a, err := registry.OpenAudit(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	registry.LimitAudit(a, 10_000, 5, 100)
	for i := range 1000 {
		a.Note(imx.RegistryPull{By: "ci", Repository: fmt.Sprint("app", i)})
	}
	a.Note(imx.RegistryPull{By: "ops", Repository: "team/app"})
	lines, err := a.Read(time.Time{})
	if err != nil || len(lines) != 5+2+1 || lines[len(lines)-1].By != "ops" {
		t.Errorf("%d lines, %v: %+v", len(lines), err, lines)
	}
}

func TestATrailIsReadAroundWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	line := func(repo string) string {
		return fmt.Sprintf("{\"time\":\"2020-11-22T12:00:00Z\",\"by\":\"ci\",\"from\":\"socket\",\"repository\":%q}\n", repo)
	}
	half := line("half")[:40]
	for name, text := range map[string]string{
		"audit.1":   line("first") + strings.Repeat("x", 100_000) + "\n" + line("second") + half,
		"audit":     line("third") + strings.Repeat("\x00", 5<<20) + "\n" + line("fourth") + "{}\n\n[]\n" + half,
		"refused":   half,
		"refused.1": strings.Repeat("{", 1<<20),
	} {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	a, err := registry.OpenAudit(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	a.Note(imx.RegistryPull{By: "ci", Repository: "fifth"})
	a.Note(imx.RegistryPull{By: "ci", Repository: "sixth", Refused: "why"})
	lines, err := a.Read(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, l.Repository)
	}
	if diff := cmp.Diff([]string{"first", "second", "third", "fourth", "fifth", "sixth"}, got); diff != "" {
		t.Error(diff)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever is in a trail's file, what is written after it is read.
func FuzzATrailIsReadAroundAnything(f *testing.F) {
	f.Add([]byte("{\"time\":\"2020-11-22T12:00:00Z\"}\n{"))
	f.Add([]byte("\x00\x00\n\n\xff"))
	f.Add([]byte(strings.Repeat("x", 40_000)))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, before []byte) {
		if err := os.WriteFile(filepath.Join(dir, "audit"), before, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := registry.OpenAudit(dir, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		a.Note(imx.RegistryPull{By: "ci", Repository: "after"})
		lines, err := a.Read(time.Now().Add(-time.Minute))
		if err != nil || len(lines) == 0 || lines[len(lines)-1].Repository != "after" {
			t.Errorf("%+v, %v", lines, err)
		}
	})
}

// trace is the trail as text.
func (g *guarded) trace(t *testing.T) []string {
	t.Helper()
	lines, err := g.door.Audit.Read(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, l := range lines {
		what := "pull"
		switch {
		case l.Push:
			what = "push"
		case l.Blobs:
			what = "blobs"
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s +%d %s", what, l.By, l.Repository, l.Digest.Short(), l.Count, l.Tag)))
	}
	return got
}

func TestWhoReadsAnImageLeavesATraceByWhicheverName(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	g := newGuarded(t, imx.Pull)
	audit, err := registry.OpenAudit(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	g.door.Audit, g.door.Now = audit, func() time.Time { return now }
	g.h = g.Behind(g.door)
	one, other := makeImage(t, "one"), makeImage(t, "other")
	for tag, a := range map[string]artifact{"one": one, "other": other} {
		want(t, g.rootPush(tag, a), http.StatusCreated)
	}
	ci := g.as(g.token(t, "ci", imx.Push, "*"))
	for id, token := range g.tokens {
		token.Ends = now.Add(24 * time.Hour)
		g.tokens[id] = token
	}
	layer := func(a artifact) string { return string(imx.DigestBytes(a.blobs[1])) }
	get := func(w *guarded, path string) {
		t.Helper()
		if rec := w.do(http.MethodGet, "/v2/app/"+path, nil); rec.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	short := func(digest string) string { return imx.Digest(digest).Short() }
	expect := func(lines ...string) {
		t.Helper()
		if diff := cmp.Diff(lines, g.trace(t)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}

	get(ci, "manifests/"+one.digest()) // by digest
	for range 3 {
		get(ci, "blobs/"+layer(one))
	}
	first := "pull ci app " + short(one.digest()) + " +0"
	expect(first)

	get(ci, "blobs/"+layer(other)) // of an image that they didn't pull
	want(t, ci.do(http.MethodGet, "/v2/app/blobs/"+layer(other), nil, "Range", "bytes=0-1"), http.StatusPartialContent)
	apart, more := "blobs ci app "+short(layer(other))+" +0", "blobs ci app  +1"
	expect(first, apart, more)

	get(g, "blobs/"+layer(one)) // a stranger's, who pulled no manifest
	stranger := "blobs anonymous app " + short(layer(one)) + " +0"
	expect(first, apart, stranger, more)

	for _, path := range []string{"manifests/one", "blobs/" + layer(other)} { // tells that it is there, and nothing of it
		want(t, ci.do(http.MethodHead, "/v2/app/"+path, nil), http.StatusOK)
	}
	expect(first, apart, stranger, more)

	now = now.Add(time.Hour) // the manifest was pulled lately
	get(ci, "blobs/"+layer(one))
	expect(first, apart, stranger, more)
	now = now.Add(2 * time.Hour) // and now it wasn't
	get(ci, "blobs/"+layer(one))
	late := "blobs ci app " + short(layer(one)) + " +0"
	expect(first, apart, stranger, more, late)

	now = now.Add(2 * time.Hour) // who mounts a blob can read it elsewhere
	want(t, ci.do(http.MethodPost, "/v2/mine/blobs/uploads/?mount="+layer(other)+"&from=app", nil), http.StatusCreated)
	expect(first, apart, stranger, more, late, apart)
	if err := audit.Close(); err != nil {
		t.Error(err)
	}
}

// rootPush pushes an image past the door.
func (g *guarded) rootPush(tag string, a artifact) *httptest.ResponseRecorder {
	w := *g.world
	w.h = g.Handler()
	return w.push("app", tag, a)
}
