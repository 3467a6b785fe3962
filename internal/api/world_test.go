package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"imx"
)

// memory is a server's parts in small: what is asked of it happens, in memory and at once.
type memory struct {
	frozen []imx.Frozen
	sent   map[string]string // feeds, by name
	mu     sync.Mutex
	state  imx.State
	events []imx.Event
	more   chan struct{} // closed and replaced at each event

	slow   chan struct{}     // an apply waits for it, unless it is nil
	left   chan error        // gets why the context of a waiting apply ended
	logs   map[string]string // by instance
	broken error             // what reading logs and events ends with, in the middle
}

func newMemory() *memory {
	m := &memory{
		state: imx.State{Services: map[string]imx.Service{}, Instances: map[string]imx.Instance{}},
		more:  make(chan struct{}), left: make(chan error, 1), logs: map[string]string{},
	}
	m.append("imx", imx.ServerStarted{Version: "0.1"})
	return m
}

func (m *memory) append(by imx.Principal, body imx.Body) {
	m.events = append(m.events, imx.Event{
		Index: int64(len(m.events)), Time: time.Unix(int64(len(m.events)), 0).UTC(), By: by, Body: body,
	})
	close(m.more)
	m.more = make(chan struct{})
}

func (m *memory) Plan(_ context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.PlanResult, error) {
	if len(req.Template.Services) == 0 {
		return imx.PlanResult{}, imx.Diagnostics{{
			Severity: imx.SeverityError, Summary: "there is no service", At: imx.Pos{File: "shop.imx.hcl", Line: 1}, Source: "image {}",
		}}.Err()
	}
	report(imx.Progress{Step: "fetch", Status: imx.StepDone, Message: "for " + string(by)})
	p := imx.Plan{Source: req.Template.Source, Services: req.Template.Services}
	return imx.PlanResult{Plan: p, Digest: p.Digest(), Lock: imx.Lock{Version: imx.LockVersion}}, nil
}

func (m *memory) Build(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	p, err := m.Plan(ctx, by, req, report)
	return imx.ApplyResult{Plan: p, Images: []imx.Image{{Name: "web"}}}, err
}

func (m *memory) CheckRepro(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ReproResult, error) {
	b, err := m.Build(ctx, by, req, report)
	return imx.ReproResult{Plan: b.Plan, Images: []imx.Repro{{Image: b.Images[0], Again: b.Images[0]}}}, err
}

func (m *memory) Test(ctx context.Context, by imx.Principal, req imx.TestRequest, report imx.Report) (imx.TestReport, error) {
	p, err := m.Plan(ctx, by, req.PlanRequest, report)
	return imx.TestReport{Plan: p, Images: []imx.Image{{Name: "web"}}, Results: []imx.TestResult{{Test: req.Only[0], Passed: true}}}, err
}

func (m *memory) Apply(ctx context.Context, by imx.Principal, req imx.PlanRequest, report imx.Report) (imx.ApplyResult, error) {
	p, err := m.Plan(ctx, by, req, report)
	if err != nil {
		return imx.ApplyResult{}, err
	}
	if m.slow != nil {
		select {
		case <-m.slow:
		case <-ctx.Done():
			m.left <- ctx.Err()
			return imx.ApplyResult{}, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	result := imx.ApplyResult{Apply: "a1", Plan: p, Candidate: &imx.Candidate{By: by, Account: req.Account}}
	for _, spec := range p.Plan.Services {
		if spec.Name == "broken" {
			panic("a defect")
		}
		s := m.state.Services[spec.Name]
		r := imx.Release{Service: spec.Name, Number: len(s.Releases) + 1, Spec: spec, By: by, State: imx.ReleaseGood}
		s.Name, s.Replicas, s.Current, s.Target, s.Destroyed = spec.Name, spec.Replicas, r.Number, r.Number, false
		s.Releases = append(s.Releases, r)
		m.state.Services[spec.Name] = s
		id := fmt.Sprintf("%s-%d-x", spec.Name, r.Number)
		m.state.Instances[id] = imx.Instance{ID: id, Service: spec.Name, Release: r.Number, Phase: imx.Healthy}
		m.logs[id] = "one\ntwo\n"
		result.Releases = append(result.Releases, r)
	}
	m.append(by, imx.Applied{Apply: "a1", Releases: result.Releases})
	return result, nil
}

func (m *memory) Take(_ context.Context, by imx.Principal, req imx.TakeoverRequest, report imx.Report) (imx.ApplyResult, error) {
	if req.From != "staging" {
		return imx.ApplyResult{}, imx.Errorf(imx.NotFound, "no upstream %q is known", req.From)
	}
	report(imx.Progress{Step: "ask staging", Status: imx.StepDone})
	return imx.ApplyResult{Origin: &imx.Origin{Environment: req.From}, Candidate: &imx.Candidate{By: by, Account: req.Account, Services: req.Services}}, nil
}

func (m *memory) service(name string) (imx.Service, error) {
	s, ok := m.state.Services[name]
	if !ok {
		return s, imx.Errorf(imx.NotFound, "there is no service %q", name)
	}
	return s, nil
}

func (m *memory) Rollback(_ context.Context, by imx.Principal, name string, to int, report imx.Report) (imx.Release, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.service(name)
	if err != nil {
		return imx.Release{}, err
	}
	r, ok := s.Previous()
	if to > 0 {
		r, ok = s.Release(to)
	}
	if !ok {
		return r, imx.Errorf(imx.Conflict, "%s has no release to go back to", name).WithHint("imx releases %s lists them", name)
	}
	report(imx.Progress{Step: "roll back", Status: imx.StepDone})
	s.Current, s.Target = r.Number, r.Number
	m.state.Services[name] = s
	m.append(by, imx.RolledBack{Service: name, To: r.Number})
	return r, nil
}

func (m *memory) Scale(_ context.Context, by imx.Principal, name string, req imx.ScaleRequest, _ imx.Report) (imx.Service, error) {
	replicas := *req.Replicas
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.service(name)
	if err == nil && replicas > 10 {
		err = imx.Errorf(imx.Exhausted, "there is no room for %d instances", replicas)
	}
	if err != nil {
		return s, err
	}
	s.Replicas = replicas
	m.state.Services[name] = s
	m.append(by, imx.Scaled{Service: name, Replicas: replicas})
	return s, nil
}

// Taint and Untaint change one of the instances.
func (m *memory) Taint(by imx.Principal, id, reason string) (imx.Instance, error) {
	return m.tainted(id, &imx.Taint{By: by, Reason: reason})
}

func (m *memory) Untaint(_ imx.Principal, id, _ string) (imx.Instance, error) {
	return m.tainted(id, nil)
}

func (m *memory) tainted(id string, t *imx.Taint) (imx.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, known := m.state.Instances[id]
	if !known {
		return in, imx.Errorf(imx.NotFound, "there is no instance %q", id)
	}
	in.Taint = t
	m.state.Instances[id] = in
	return in, nil
}

func (m *memory) Destroy(_ context.Context, by imx.Principal, names []string, volumes bool, report imx.Report) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		s, err := m.service(name)
		if err != nil {
			return err
		}
		s.Destroyed = true
		m.state.Services[name] = s
		m.append(by, imx.Destroyed{Service: name, Volumes: volumes})
		report(imx.Progress{Step: "destroy " + name, Status: imx.StepDone})
	}
	return nil
}

func (m *memory) Freeze(_ context.Context, by imx.Principal, req imx.FreezeRequest, report imx.Report) (imx.Frozen, error) {
	if req.Lock == nil {
		return imx.Frozen{}, imx.Errorf(imx.NotFound, "there is no imx.lock")
	}
	report(imx.Progress{Step: "freeze", Status: imx.StepDone, Message: "for " + string(by)})
	m.mu.Lock()
	defer m.mu.Unlock()
	f := imx.Frozen{Name: req.Name, Tag: "lock-1", Packages: len(req.Lock.Packages)}
	m.frozen = append(m.frozen, f)
	return f, nil
}

func (m *memory) Archives(context.Context) (imx.Archives, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return imx.Archives{Suites: m.state.Suites, Frozen: m.frozen}, nil
}

func (m *memory) Status(_ context.Context, at time.Time) (imx.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !at.IsZero() && at.Before(m.events[0].Time) {
		return imx.Status{}, imx.Errorf(imx.NotFound, "the log begins at %s", m.events[0].Time)
	}
	s := imx.Status{Version: "0.1", State: m.state}
	s.State.Services, s.State.Instances = maps.Clone(m.state.Services), maps.Clone(m.state.Instances)
	s.State.Time = at
	return s, nil
}

func (m *memory) Why(_ context.Context, id string) (imx.Why, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.state.Instances[id]
	if !ok {
		return imx.Why{}, imx.Errorf(imx.NotFound, "there is no instance %q", id)
	}
	r, _ := m.state.Services[in.Service].Release(in.Release)
	return imx.Why{Instance: in, Release: r, Events: m.events}, nil
}

func (m *memory) Images(context.Context) ([]imx.ImageView, error) {
	return []imx.ImageView{{Image: imx.Image{Name: "web", Digest: imx.DigestBytes(nil)}, RunBy: []imx.ImageUse{{Service: "web", Release: 1}}}}, nil
}

func (m *memory) Image(ctx context.Context, wanted string) (imx.ImageDetail, error) {
	list, err := m.Images(ctx)
	if err == nil && wanted != list[0].Name+"@"+string(list[0].Digest) {
		err = imx.Errorf(imx.NotFound, "there is no image %q", wanted).WithHint("did you mean web?")
	}
	return imx.ImageDetail{ImageView: list[0], Inventory: imx.Inventory{Version: imx.InventoryVersion}}, err
}

func (m *memory) Evidence(_ context.Context, image string) ([]imx.Evidence, error) {
	if image != "team/web:v1" {
		return nil, imx.Errorf(imx.NotFound, "there is no image or service %q", image)
	}
	return []imx.Evidence{{PredicateType: imx.PredicateTest, Summary: "12 of 12 tests passed"}}, nil
}

func (m *memory) Statement(ctx context.Context, image, predicate string) (imx.Statement, error) {
	_, err := m.Evidence(ctx, image)
	return imx.Statement{Type: imx.StatementType, PredicateType: predicate, Predicate: []byte(`{"a":1}`)}, err
}

func (m *memory) Bundle(ctx context.Context, image, predicate string) (json.RawMessage, error) {
	_, err := m.Evidence(ctx, image)
	return json.RawMessage(fmt.Sprintf("{\"signed\":%q}", predicate)), err
}

func (m *memory) SBOM(ctx context.Context, by imx.Principal, image, predicateType string) (json.RawMessage, error) {
	_, err := m.Evidence(ctx, image)
	return json.RawMessage(fmt.Sprintf("{%q:%q}", by, predicateType)), err
}

func (m *memory) Events(ctx context.Context, from int64, follow bool) iter.Seq2[imx.Event, error] {
	ended := make(chan struct{})
	close(ended)
	enough := map[bool]<-chan struct{}{false: ended, true: ctx.Done()}[follow]
	return func(yield func(imx.Event, error) bool) {
		for i := from; ; i++ {
			m.mu.Lock()
			for i >= int64(len(m.events)) {
				more := m.more
				m.mu.Unlock()
				if m.broken != nil {
					yield(imx.Event{}, m.broken)
					return
				}
				select {
				case <-more:
				case <-enough:
					return
				}
				m.mu.Lock()
			}
			e := m.events[i]
			m.mu.Unlock()
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) CheckLog(context.Context, ...imx.Checkpoint) (imx.LogCheck, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return imx.LogCheck{Events: int64(len(m.events))}, nil
}

func (m *memory) Version() imx.Version { return imx.Version{Version: "0.1", System: "linux/amd64"} }

func (m *memory) Logs(_ context.Context, id string, o imx.LogOptions) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, ok := m.logs[id]
	if !ok {
		return nil, imx.Errorf(imx.NotFound, "there is no instance %q", id)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if o.Tail > 0 {
		lines = lines[max(0, len(lines)-o.Tail):]
	}
	if o.Times {
		for i := range lines {
			lines[i] = "1970-01-01T00:00:00Z stdout " + lines[i]
		}
	}
	r := io.Reader(strings.NewReader(strings.Join(lines, "")))
	if m.broken != nil {
		r = io.MultiReader(r, failing{m.broken})
	}
	return io.NopCloser(r), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// feeds are those that the memory has, with what was sent of each.
func (m *memory) Feeds(at time.Time) ([]imx.Feed, error) {
	all := []imx.Feed{}
	for _, name := range slices.Sorted(maps.Keys(m.sent)) {
		all = append(all, imx.Feed{Name: name, Date: at, Entries: int64(len(m.sent[name]))})
	}
	return all, nil
}

func (m *memory) AddFeed(_ context.Context, by imx.Principal, req imx.FeedRequest, r io.Reader) (imx.Feed, error) {
	raw, err := io.ReadAll(r)
	if m.sent == nil {
		m.sent = map[string]string{}
	}
	m.sent[req.Name] = string(raw)
	return imx.Feed{Name: req.Name, Format: req.Format, Source: req.Source, Date: req.Date, Stale: req.Anyway, Entries: int64(len(raw)), Skips: []string{string(by)}}, err
}

func (m *memory) Refresh(_ context.Context, by imx.Principal, req imx.RefreshRequest, report imx.Report) ([]imx.Feed, error) {
	report(imx.Progress{Step: "fetch " + req.Name, Status: imx.StepDone})
	feeds, err := m.Feeds(time.Time{})
	return append(feeds, imx.Feed{Source: string(by)}), err
}

func (m *memory) RemoveFeed(_ imx.Principal, name string) error {
	if _, ok := m.sent[name]; !ok {
		return imx.Errorf(imx.NotFound, "there is no feed %q", name)
	}
	delete(m.sent, name)
	return nil
}

func (m *memory) Scan(_ context.Context, by imx.Principal, req imx.ScanRequest, report imx.Report) (imx.ScanResult, error) {
	report(imx.Progress{Step: "read images", Status: imx.StepDone})
	return imx.ScanResult{At: req.At, Images: []imx.ImageScan{{Name: req.Subject, Patch: "for " + string(by), Vulnerabilities: []imx.Vulnerability{{ID: req.ID}}}}}, nil
}

func (m *memory) Excuse(_ context.Context, by imx.Principal, image string, req imx.VEXRequest) (json.RawMessage, error) {
	return json.Marshal([]string{string(by), image, req.Justification})
}
