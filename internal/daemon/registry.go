package daemon

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imx"
	"imx/internal/api"
	"imx/internal/blob"
	"imx/internal/control"
	"imx/internal/eventlog"
	"imx/internal/pipeline"
	"imx/internal/registry"
	"imx/internal/replicate"
	"imx/internal/state"
)

// registrar keeps the registry's rules, its trail and its replicas.
type registrar struct {
	control  *control.Control
	registry *registry.Registry
	pipeline *pipeline.Pipeline
	audit    *registry.Audit
	follower *replicate.Follower
}

// Anonymous is what whoever shows no token may do at the registry's TCP address.
type Anonymous string

// What they may do. AnonymousUsual is to pull where the address is this machine's alone, and nothing elsewhere.
const (
	AnonymousUsual   Anonymous = ""
	AnonymousNothing Anonymous = "none"
	AnonymousPulls   Anonymous = "pull"
	AnonymousPushes  Anonymous = "push"
)

// rights are what everybody may at an address.
func (a Anonymous) rights(address net.Addr) []imx.RegistryRight {
	if a == AnonymousUsual {
		a = AnonymousNothing
		if at, err := netip.ParseAddrPort(address.String()); err == nil && at.Addr().Unmap().IsLoopback() {
			a = AnonymousPulls
		}
	}
	switch a {
	case AnonymousPushes:
		return []imx.RegistryRight{imx.Pull, imx.Push}
	case AnonymousPulls:
		return []imx.RegistryRight{imx.Pull}
	case AnonymousNothing, AnonymousUsual:
	}
	return nil
}

// openRegistrar opens the trail, and joins the registry with its rules.
func (s *server) openRegistrar() error {
	audit, err := registry.OpenAudit(filepath.Join(s.data, registryFolder, "audit"), time.Now)
	if err != nil {
		return err
	}
	r := &registrar{control: s.control, registry: s.registry, pipeline: s.pipeline, audit: audit}
	r.follower = replicate.NewFollower(replicate.Config{
		Rules:   func() map[string]imx.RegistryMirror { return s.control.Registry().Mirrors },
		Changed: s.control.Changed, Open: r.sides, Enter: s.pipeline.Enter, Now: time.Now, Every: time.Minute, Rest: time.Second,
	})
	s.registrar = r
	return nil
}

// door is who may come in by an address: root by the socket, the holders of tokens, and everybody for what they may.
func (r *registrar) door(everybody []imx.RegistryRight) registry.Door {
	return registry.Door{
		Tokens:    func() map[string]imx.RegistryToken { return r.control.Registry().Tokens },
		Anonymous: everybody, Audit: r.audit, Now: time.Now,
		Known: func(ctx context.Context) (imx.Principal, bool) {
			account, err := api.Caller(ctx)
			return who(r.control, account), err == nil
		},
	}
}

// behind serves the registry at an address.
func (s *server) behind(everybody []imx.RegistryRight) http.Handler {
	return s.pushing(s.registry.Behind(s.registrar.door(everybody)))
}

// sides are the two registries of a mirror.
func (r *registrar) sides(m imx.RegistryMirror) (from, to replicate.Side, err error) {
	secret, err := secretOf("mirror "+m.Name, m.TokenFile)
	if err != nil {
		return from, to, err
	}
	other, err := replicate.Open(m.URL, secret, nil)
	here := r.side()
	if m.Direction == imx.MirrorFrom {
		return other, here, err
	}
	return here, other, err
}

// side is this server's registry.
func (r *registrar) side() replicate.Side {
	return replicate.Side{Interface: r.registry.Interface(), Name: "of this server"}
}

// Tokens implements api.Doorkeeper.
func (r *registrar) Tokens() []imx.RegistryToken {
	all := []imx.RegistryToken{}
	for _, t := range r.control.Registry().Tokens {
		t.Hash = ""
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b imx.RegistryToken) int {
		if c := b.Made.Compare(a.Made); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// MakeToken implements api.Doorkeeper.
func (r *registrar) MakeToken(by imx.Principal, req imx.TokenRequest) (imx.NewToken, error) {
	made, err := r.control.MakeToken(by, req)
	made.Hash = ""
	return made, err
}

// RevokeToken implements api.Doorkeeper.
func (r *registrar) RevokeToken(by imx.Principal, id string) (imx.RegistryToken, error) {
	t, err := r.control.RevokeToken(by, id)
	t.Hash = ""
	return t, err
}

// Quotas implements api.Doorkeeper.
func (r *registrar) Quotas() ([]imx.RegistryUse, error) {
	used, err := r.registry.Used()
	all := []imx.RegistryUse{}
	for _, u := range used {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b imx.RegistryUse) int { return strings.Compare(a.Scope(), b.Scope()) })
	return all, err
}

// SetQuota implements api.Doorkeeper.
func (r *registrar) SetQuota(by imx.Principal, q imx.RegistryQuota) error {
	return r.control.SetQuota(by, q)
}

// Pulls implements api.Doorkeeper.
func (r *registrar) Pulls(since time.Time) ([]imx.RegistryPull, error) { return r.audit.Read(since) }

// Mirrors implements api.Replicas.
func (r *registrar) Mirrors() []imx.MirrorStatus { return r.follower.Status() }

// SetMirror implements api.Replicas.
func (r *registrar) SetMirror(by imx.Principal, m imx.RegistryMirror) error {
	return r.control.SetMirror(by, m)
}

// RemoveMirror implements api.Replicas.
func (r *registrar) RemoveMirror(by imx.Principal, name string) error {
	return r.control.RemoveMirror(by, name)
}

// CheckRegistry implements api.Replicas. Nothing is collected meanwhile.
func (r *registrar) CheckRegistry(ctx context.Context, by imx.Principal, req imx.RegistryCheckRequest, report imx.Report) (imx.RegistryCheck, error) {
	leave, err := r.pipeline.Enter(ctx)
	if err != nil {
		return imx.RegistryCheck{}, err
	}
	defer leave()
	told := newTold()
	for e, err := range r.control.Events(0) {
		if err != nil {
			return imx.RegistryCheck{}, err
		}
		told.note(e)
	}
	c, err := told.checking(r.control.State(), req, report)
	if err != nil {
		return imx.RegistryCheck{}, err
	}
	found, err := r.registry.Check(ctx, c)
	if mended := slices.DeleteFunc(slices.Clone(found.Faults), func(f imx.RegistryFault) bool { return f.Repaired == "" }); len(mended) > 0 {
		err = errors.Join(err, r.control.Record(by, imx.RegistryRepaired{Faults: mended}))
	}
	return found, err
}

// repairFromLog repairs from what the log says and the bytes at hand alone.
const repairFromLog = "log"

// told is what the log tells of what is in the registry.
type told struct {
	pushed map[registry.Tagged]imx.Digest
	stated map[imx.Digest]registry.Stated
	newest map[subject]imx.Digest // of statements, by their manifest
}

// subject is what a later statement takes the place of an earlier one for.
type subject struct {
	image         imx.Digest
	predicateType string
}

func newTold() *told {
	return &told{pushed: map[registry.Tagged]imx.Digest{}, stated: map[imx.Digest]registry.Stated{}, newest: map[subject]imx.Digest{}}
}

// note takes an event in.
func (t *told) note(e imx.Event) {
	switch b := e.Body.(type) {
	case imx.ManifestPushed:
		if b.Tag != "" {
			t.pushed[registry.Tagged{Repository: b.Repository, Tag: b.Tag}] = b.Digest
		}
	case imx.EvidenceAdded:
		v := b.Evidence
		about := subject{v.Image, v.PredicateType}
		says := cmp.Or(imx.PredicateNames()[v.PredicateType], "statement") + " of image " + v.Image.Short()
		if last, ok := t.newest[about]; ok {
			t.stated[last] = registry.Stated{Says: says + ", since replaced", Replaced: true}
		}
		t.newest[about], t.stated[v.Manifest] = v.Manifest, registry.Stated{Says: says}
	}
}

// checking is how a look is made at the registry of a server in a state.
func (t *told) checking(s *imx.State, req imx.RegistryCheckRequest, report imx.Report) (registry.Checking, error) {
	c := registry.Checking{Pushed: t.pushed, Stated: t.stated, Needs: releasesNeed(s), Forget: req.Forget, Report: report}
	if req.RepairFrom == "" {
		return c, nil
	}
	c.Mend = registry.MendAll
	if req.RepairFrom == repairFromLog {
		return c, nil
	}
	other, err := replicate.Open(req.RepairFrom, req.Secret, nil)
	if err != nil {
		return c, err
	}
	c.Replica, c.Name = other, other.Name
	return c, nil
}

// releasesNeed are the digests of the images and files of releases that run or may be gone back to.
func releasesNeed(s *imx.State) map[imx.Digest][]string {
	needs := map[imx.Digest][]string{}
	for _, t := range pipeline.Needed(*s) {
		needs[t.Digest] = append(needs[t.Digest], t.By)
	}
	return needs
}

// CheckRegistry looks at every byte of the registry in a data folder that no server has, and repairs it. What it repaired isn't on
// the log: that only a server writes. Errors: NotFound where there is no registry; Conflict while a server holds the folder.
func CheckRegistry(ctx context.Context, data string, req imx.RegistryCheckRequest, report imx.Report) (_ imx.RegistryCheck, err error) {
	var none imx.RegistryCheck
	if _, err := os.Stat(filepath.Join(data, registryFolder)); err != nil {
		return none, imx.Errorf(imx.NotFound, "there is no registry in %s: %w", data, err)
	}
	events, _, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(data, logFolder), Now: time.Now})
	if err != nil {
		return none, err
	}
	defer func() { err = errors.Join(err, events.Close()) }()
	now, told := state.New(), newTold()
	for e, err := range control.Events(events, 0) {
		if err == nil {
			err = state.Fold(now, e)
		}
		if err != nil {
			return none, err
		}
		told.note(e)
	}
	c, err := told.checking(now, req, report)
	if err != nil {
		return none, err
	}
	blobs, err := blob.Open(filepath.Join(data, blobFolder))
	if err != nil {
		return none, err
	}
	r, err := registry.New(registry.Config{Dir: filepath.Join(data, registryFolder), Blobs: blobs})
	if err != nil {
		return none, err
	}
	return r.Check(ctx, c)
}

var _ api.Registrar = (*registrar)(nil)
