package cli_test

// The golden files show what each command prints for a fixed state of the world: read them to
// judge the output, and read their diff before keeping one that -update wrote.

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"imx"
	"imx/internal/cli"
	"imx/internal/term"
)

func at(text string) time.Time {
	t, err := time.Parse(time.DateTime, text)
	if err != nil {
		panic(err)
	}
	return t
}

func digest(s string) imx.Digest { return imx.DigestBytes([]byte(s)) }

func now() time.Time { return at("2026-05-01 12:00:00") }

// golden compares what show writes into a pipe, 0 columns, with a file.
func golden(t *testing.T, name string, show func(term.Stream) error) {
	t.Helper()
	var b strings.Builder
	if err := show(term.Stream{Writer: &b}); err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/golden/"+name+".txt", b.String())
}

func source() imx.Source {
	return imx.Source{Commit: "b31f0c2a97d4e5f60718293a4b5c6d7e8f901234", Folder: "examples/shop"}
}

func image(name string) imx.Image {
	return imx.Image{
		Name: name, Digest: digest("image " + name), Plan: digest("plan of " + name), Root: digest("root " + name),
		Size: 30855398, Files: 1204, Packages: 12,
	}
}

func release(service string, number int, state imx.ReleaseState) imx.Release {
	return imx.Release{
		Service: service, Number: number, Image: image(service), Plan: digest("plan"), Source: source(),
		Address: netip.MustParseAddr("10.213.0.2"), Apply: "k7w2", By: "root", State: state,
		Made: at("2026-05-01 11:00:00").Add(time.Duration(number) * time.Minute),
		Spec: imx.Spec{Name: service, Ports: []imx.Port{{Name: "http", Container: 8080, Publish: 8080}}},
	}
}

func instance(service string, number int, phase imx.Phase) imx.Instance {
	return imx.Instance{
		ID: service + "-" + string(rune('0'+number)) + "-k3x9", Service: service, Release: number, Image: digest("image " + service),
		Address: netip.MustParseAddr("10.213.128.7"), Pid: 4711, Phase: phase, Started: at("2026-05-01 11:57:30"), Flows: 3,
	}
}

// world is a web service in the middle of a rollout, an app that was rolled back by hand after a
// release that failed, and a database that was destroyed.
func world() imx.State {
	web := imx.Service{
		Name: "web", Address: netip.MustParseAddr("10.213.0.2"), Replicas: 2, Current: 3, Target: 4,
		Since: at("2026-05-01 11:59:48"), Routes: imx.Weights{3: 90, 4: 10},
		Releases: []imx.Release{release("web", 3, imx.ReleaseGood), release("web", 4, imx.ReleasePending)},
	}
	broken := release("app", 2, imx.ReleaseFailed)
	broken.Reason = "app-2-q1z8 answered /healthz with 500 until the deadline of 15 s"
	app := imx.Service{
		Name: "app", Address: netip.MustParseAddr("10.213.0.3"), Replicas: 1, Current: 1, Target: 1, Hold: &imx.Hold{By: "root", Reason: "it answers with errors", From: 2, Since: at("2026-05-01 11:20:00")},
		Since: at("2026-05-01 11:20:00"), Routes: imx.Weights{1: 100},
		Releases: []imx.Release{release("app", 1, imx.ReleaseGood), broken},
	}
	one, two, three := instance("web", 3, imx.Healthy), instance("web", 4, imx.Healthy), instance("app", 1, imx.Unhealthy)
	three.Reason = "connection refused on port http (8000)"
	return imx.State{
		Next: 1204, Time: at("2026-05-01 11:59:57"),
		Services:  map[string]imx.Service{"web": web, "app": app, "db": {Name: "db", Destroyed: true}},
		Instances: map[string]imx.Instance{one.ID: one, two.ID: two, three.ID: three},
		Apply:     &imx.ApplyStarted{Apply: "k7w2", Source: source()}, ApplyBy: "root", ApplyAt: at("2026-05-01 11:59:40"),
	}
}

func TestStatusShowsRolloutsRollbacksAndTheLog(t *testing.T) {
	golden(t, "status", func(out term.Stream) error {
		return cli.ShowStatus(out, imx.Status{
			Version: "0.1.0", State: world(), Mode: []string{"crun 1.8.1 under conmon 2.1.6", "EROFS roots", "nftables routes"},
			Checkpoint: &imx.Checkpoint{Size: 1204, Root: "5Jk0sCq0aVxkV2bJq2eVwQkqz0mT0m1o2f0j6r3Y3sE="},
		}, now())
	})
}

func TestStatusOfAnEmptyServerSaysWhatToDo(t *testing.T) {
	golden(t, "status-empty", func(out term.Stream) error {
		return cli.ShowStatus(out, imx.Status{Version: "0.1.0"}, now())
	})
}

func TestStatusCutsItsTableToTheTerminalButNoReason(t *testing.T) {
	var b strings.Builder
	out := term.Stream{Writer: &b, Size: func() (int, int) { return 60, 24 }}
	if err := cli.ShowStatus(out, imx.Status{State: world()}, now()); err != nil {
		t.Fatal(err)
	}
	table, reasons, _ := strings.Cut(b.String(), "\n\n")
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 60 {
			t.Errorf("a line of %d columns on a terminal of 60: %q", n, line)
		}
	}
	reasons = strings.Join(strings.Fields(reasons), " ")
	if reason := world().Services["app"].Releases[1].Reason; !strings.Contains(reasons, reason) {
		t.Errorf("the reason %q isn't whole in:\n%s", reason, reasons)
	}
}

func TestPsShowsPhasesAndEndings(t *testing.T) {
	killed, stopped, failed := instance("app", 1, imx.Ended), instance("app", 2, imx.Ended), instance("app", 3, imx.Ended)
	killed.Exit, killed.Ended = &imx.Exit{Code: 137, OOM: true}, at("2026-05-01 11:59:00")
	stopped.Exit = &imx.Exit{Code: 0, Wanted: true}
	failed.Exit, failed.Reason = &imx.Exit{Code: 2}, "bad \x1b[31mconfiguration\nsecond line"
	golden(t, "ps", func(out term.Stream) error {
		return cli.ShowInstances(out, []imx.Instance{
			killed, stopped, failed, instance("web", 3, imx.Healthy), instance("web", 4, imx.Starting),
		}, now())
	})
}

func TestReleasesMarkTheCurrentAndExplainTheFailed(t *testing.T) {
	golden(t, "releases", func(out term.Stream) error { return cli.ShowReleases(out, world().Services["app"], now()) })
	golden(t, "releases-rolling", func(out term.Stream) error { return cli.ShowReleases(out, world().Services["web"], now()) })
}

func TestWhyNamesEachLinkByDigest(t *testing.T) {
	r := release("web", 3, imx.ReleaseGood)
	golden(t, "why", func(out term.Stream) error {
		return cli.ShowWhy(out, imx.Why{
			Instance: instance("web", 3, imx.Healthy), Release: r, Image: r.Image, Plan: r.Plan, Source: r.Source,
			ImagePlan: imx.ImagePlan{
				Spec: imx.ImageSpec{Name: "web", Packages: []string{"nginx-light"}}, Architecture: "amd64",
				Ship: []imx.Package{
					{Name: "libc6", Version: "2.36-9+deb12u9"},
					{Name: "libssl3", Version: "3.0.15-1~deb12u1"},
					{Name: "nginx-light", Version: "1.22.1-9+deb12u1"},
				},
			},
			Events: []imx.Event{
				{Index: 7, Time: at("2026-05-01 11:02:10"), By: "root", Body: imx.ImageBuilt{Image: r.Image}},
				{Index: 9, Time: at("2026-05-01 11:03:00"), By: "root", Body: imx.Applied{Apply: "k7w2", Releases: []imx.Release{r}}},
				{Index: 10, Time: at("2026-05-01 11:57:30"), By: imx.Server, Body: imx.InstanceStarted{Instance: instance("web", 3, imx.Starting)}},
			},
		})
	})
}

func TestApplySaysWhatCameOfEachRelease(t *testing.T) {
	failed := release("app", 2, imx.ReleaseFailed)
	failed.Reason = "app-2-q1z8 answered /healthz with 500"
	golden(t, "apply", func(out term.Stream) error {
		return cli.ShowApplied(out, imx.ApplyResult{Apply: "k7w2", Releases: []imx.Release{release("web", 4, imx.ReleaseGood), failed}})
	})
}

func TestLogTellsEveryKindOfEventOnOneLine(t *testing.T) {
	ended := instance("app", 1, imx.Ended)
	ended.Exit = &imx.Exit{Code: 1}
	r := release("web", 4, imx.ReleasePending)
	bodies := []imx.Body{
		imx.ServerStarted{Version: "0.1.0"},
		imx.ServerStarted{Version: "0.1.0", Cut: 212},
		imx.FeedKept{Feed: imx.Feed{Name: "DSA-list", Entries: 36252, Date: at("2026-01-02 03:04:05"), Digest: imx.DigestBytes([]byte("list"))}},
		imx.FeedRemoved{Name: "DSA-list", Digest: imx.DigestBytes([]byte("list"))},
		imx.SuiteSeen{Suite: imx.LockedSuite{Archive: "host", Suite: "bookworm", Date: at("2026-04-30 08:00:00")}},
		imx.ApplyStarted{Apply: "k7w2", Plan: digest("plan"), Source: source()},
		imx.ImageBuilt{Image: r.Image},
		imx.Applied{Apply: "k7w2", Releases: []imx.Release{r}, Replicas: map[string]int{"app": 3}},
		imx.Applied{Apply: "k7w3"},
		imx.ApplyFailed{Apply: "k7w2", Error: imx.Errorf(imx.Exhausted, "no space is left in the data folder")},
		imx.RolloutFinished{Service: "web", Release: 4},
		imx.RolloutFailed{Service: "web", Release: 4, Reason: "never\nhealthy"},
		imx.RolledBack{Service: "web", From: 4, To: 3},
		imx.RolloutStepped{Service: "web", Release: 4, Step: 1, Share: 25, Reason: "nothing was wrong in 1m0s"},
		imx.RolloutWaits{Service: "web", Release: 4, Reason: "too little traffic to judge: 12 of 100 requests"},
		imx.RolloutWaits{Service: "web", Release: 4},
		imx.RolloutPaused{Service: "web", Release: 4, Reason: "let us look"},
		imx.RolloutPromoted{Service: "web", Release: 4, Step: 1},
		imx.RolloutPromoted{Service: "web", Release: 4, Whole: true, Reason: "it mends the outage"},
		imx.TurnedBad{Service: "web", From: 4, To: 3, Reason: "4 of 4 instances turned bad"},
		imx.HoldEnded{Service: "web", Reason: "mended"},
		imx.WayBackChanged{Service: "web", Way: imx.WayBack{Release: 3, Warm: imx.WarmFrozen, Ready: true, Proved: now()}},
		imx.WayBackChanged{Service: "web", Way: imx.WayBack{Release: 3, Why: "its root was changed"}},
		imx.TrafficMoved{Service: "web", Weights: imx.Weights{3: 2, 4: 1}},
		imx.TrafficMoved{Service: "web"},
		imx.Scaled{Service: "web", Replicas: 1},
		imx.Destroyed{Service: "db", Volumes: true},
		imx.Destroyed{Service: "db"},
		imx.Removed{Service: "db"},
		imx.InstanceStarted{Instance: instance("app", 1, imx.Starting)},
		imx.InstanceChanged{Instance: instance("app", 1, imx.Healthy)},
		imx.InstanceEnded{Instance: ended},
		imx.ManifestPushed{Repository: "shop/web", Tag: "v1", Digest: digest("image")},
		imx.Collected{Collection: imx.Collection{Things: 12, Size: 3 << 20}},
	}
	golden(t, "log", func(out term.Stream) error {
		for i, body := range bodies {
			if err := cli.ShowEvent(out, imx.Event{Index: int64(i), Time: now().Add(time.Duration(i) * time.Second), By: "root", Body: body}); err != nil {
				return err
			}
		}
		return nil
	})
}

// changes are of every sort that a plan tells of.
func changes() []imx.Change {
	list := []imx.Change{{Op: imx.OpAdd, Kind: "image", Subject: "image.app"}}
	for _, p := range []string{
		"libc6 2.36-9+deb12u9", "libexpat1 2.5.0-1+deb12u1", "libpython3.11-minimal 3.11.2-6+deb12u4", "libssl3 3.0.15-1~deb12u1",
		"python3-minimal 3.11.2-1+b1", "python3-redis 4.3.4-3", "zlib1g 1:1.2.13.dfsg-1",
	} {
		name, version, _ := strings.Cut(p, " ")
		list = append(list, imx.Change{Op: imx.OpAdd, Kind: "package", Subject: "image.app", Name: name, After: version})
	}
	return append(list,
		imx.Change{Op: imx.OpUpdate, Kind: "image", Subject: "image.web"},
		imx.Change{Op: imx.OpAdd, Kind: "package", Subject: "image.web", Name: "libpcre2-8-0", After: "10.42-1"},
		imx.Change{Op: imx.OpRemove, Kind: "package", Subject: "image.web", Name: "libpcre3", Before: "2:8.39-15"},
		imx.Change{Op: imx.OpUpdate, Kind: "package", Subject: "image.web", Name: "nginx-light", Before: "1.22.1-9", After: "1.22.1-9+deb12u1"},
		imx.Change{Op: imx.OpUpdate, Kind: "file", Subject: "image.web", Name: "/srv/www/index.html", Before: string(digest("tea")), After: string(digest("coffee"))},
		imx.Change{Op: imx.OpAdd, Kind: "service", Subject: "service.app"},
		imx.Change{Op: imx.OpAdd, Kind: "instances", Subject: "service.app", Before: "0", After: "2"},
		imx.Change{Op: imx.OpUpdate, Kind: "service", Subject: "service.db"},
		imx.Change{Op: imx.OpUpdate, Kind: "setting", Subject: "service.db", Name: "resources.memory", Before: "64.0 MiB", After: "128.0 MiB"},
		imx.Change{Op: imx.OpReplace, Kind: "instances", Subject: "service.db", Before: "1", After: "1", Note: "stop-then-start: its volume has one holder"},
		imx.Change{Op: imx.OpUpdate, Kind: "service", Subject: "service.web"},
		imx.Change{Op: imx.OpUpdate, Kind: "instances", Subject: "service.web", Before: "3", After: "2"},
	)
}

func TestPlanShowsChangesBySubjectThenNoticesThenTheSum(t *testing.T) {
	notices := imx.Diagnostics{{
		Severity: imx.SeverityNotice, Summary: `service "db" has no health check: imx checks that its port "redis" (6379) accepts connections`,
		Hint: "add health with http or tcp to say yourself what healthy means",
		At:   imx.Pos{File: "shop.imx.hcl", Line: 89, Column: 1, End: 13}, Source: `service "db" {`,
	}}
	golden(t, "plan", func(out term.Stream) error {
		return cli.ShowPlan(out, imx.PlanResult{Changes: changes(), Notices: notices}, "examples/shop")
	})
}

func TestPlanWithoutChangesSaysSo(t *testing.T) {
	golden(t, "plan-nothing", func(out term.Stream) error { return cli.ShowPlan(out, imx.PlanResult{}, ".") })
}
