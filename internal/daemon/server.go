package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"imx"
	"imx/internal/api"
	"imx/internal/archive"
	"imx/internal/attest"
	"imx/internal/blob"
	"imx/internal/build"
	"imx/internal/candidate"
	"imx/internal/control"
	"imx/internal/engine"
	"imx/internal/engine/local"
	"imx/internal/eventlog"
	"imx/internal/evidence"
	"imx/internal/frozen"
	"imx/internal/gc"
	"imx/internal/ingress/keeper"
	"imx/internal/keyring"
	"imx/internal/measure"
	"imx/internal/network/nft"
	"imx/internal/offer"
	"imx/internal/pipeline"
	"imx/internal/policy"
	"imx/internal/provenance"
	"imx/internal/reconcile"
	"imx/internal/registry"
	"imx/internal/scaler"
	"imx/internal/scan"
	"imx/internal/sign"
	"imx/internal/source"
	"imx/internal/takeover"
	"imx/internal/trial"
	"imx/internal/trust"
	"imx/internal/verdict"
)

// server is every part of a running server, open.
type server struct {
	data        string // the data folder
	version     string
	probe       string // as of Config
	refuse      imx.Level
	environment string        // whose policy counts
	sourceSize  imx.Size      // as of Config
	prove       time.Duration // the same
	logger      *slog.Logger
	log         *eventlog.Log
	control     *control.Control
	keys        keyring.Store
	trust       *trust.Registrar
	registry    *registry.Registry
	engine      *local.Engine
	pipeline    *pipeline.Pipeline
	attester    *attest.Attester
	judge       *verdict.Judge
	desk        *candidate.Desk
	follower    *source.Follower
	tester      *trial.Tester
	taker       *takeover.Taker
	loop        *reconcile.Loop
	scaler      *scaler.Loop
	meter       *meter
	counter     *measure.Counter
	scanner     *scan.Scanner
	registrar   *registrar
	offers      *offer.Maker
	keeper      *keeper.Keeper
	room        *room
}

// The folders below the data folder, each with one owner. docs/format/data.md describes them.
const (
	logFolder      = "log"
	blobFolder     = "blobs"
	archiveFolder  = "archive"
	buildFolder    = "build"
	registryFolder = "registry"
	engineFolder   = "engine"
	feedFolder     = "feeds"
	keyFolder      = "keys"
	sourceFolder   = "sources"
	ingressFolder  = "ingress"

	identityFile = "identity" // unless --identity names another
)

// open opens the parts from the bottom up; what it opened it closes again if a later one fails.
func open(ctx context.Context, cfg Config) (_ *server, err error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, imx.Errorf(imx.Invalid, "the data folder can't be made: %w", err)
	}
	s := &server{
		data: cfg.Data, probe: cfg.Probe, version: cfg.Version.Version, refuse: cfg.Refuse, sourceSize: cfg.SourceSize, prove: cfg.Prove,
		logger: slog.New(slog.NewTextHandler(cfg.Log, nil)),
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	events, recovery, err := eventlog.Open(eventlog.Config{Dir: filepath.Join(cfg.Data, logFolder), Now: time.Now})
	if err != nil {
		return nil, err
	}
	s.log, s.room = events, newRoom(cfg.Data, s.logger)
	if recovery.Cut > 0 {
		s.logger.WarnContext(ctx, "the log ended in the middle of a record, as a crash leaves it: recovered to the last whole one",
			slog.Int64("events", recovery.Records), slog.Int64("cut_bytes", recovery.Cut))
	}
	prefix, err := network(cfg.Data, cfg.Network)
	if err != nil {
		return nil, err
	}
	s.control, err = control.Open(control.Config{
		Log: roomyLog{events, s.room}, Now: time.Now, NewID: newID, Network: prefix, Version: cfg.Version.Version, Cut: recovery.Cut,
	})
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx, cfg); err != nil {
		return nil, err
	}
	if err := s.openKeys(cfg); err != nil {
		return nil, err
	}
	blobs, err := blob.Open(filepath.Join(cfg.Data, blobFolder))
	if err != nil {
		return nil, err
	}
	return s, s.join(ctx, prefix, blobs)
}

// settle finds for which environment the data folder is, and keeps that.
func (s *server) settle(ctx context.Context, cfg Config) (err error) {
	now := s.control.State()
	s.environment, err = policy.Settle(now, cfg.Environment.Name, cfg.Environment.Change)
	if err != nil || s.environment == now.Environment {
		return err
	}
	if now.Environment != "" {
		s.logger.WarnContext(ctx, "the environment is another from now on: what runs is judged by its policy",
			slog.String("environment", s.environment), slog.String("before", now.Environment))
	}
	return s.control.Record(imx.Server, imx.EnvironmentSet{Environment: s.environment, Before: now.Environment})
}

// openKeys opens the keys with which the server's parts sign, and makes them at the first start.
func (s *server) openKeys(cfg Config) (err error) {
	if cfg.Keys.Token != "" {
		s.keys, err = keyring.OpenToken(cfg.Keys.Token)
	} else {
		s.keys, err = keyring.OpenFiles(filepath.Join(cfg.Data, keyFolder), cmp.Or(cfg.Keys.Identity, filepath.Join(cfg.Data, identityFile)))
	}
	if err != nil {
		return err
	}
	s.trust, err = trust.Open(trust.Config{Control: s.control, Store: s.keys, Now: time.Now})
	return err
}

// join opens the parts that stand on the log and the blobs.
func (s *server) join(ctx context.Context, prefix netip.Prefix, blobs *blob.Store) error {
	debs, err := archive.New(archive.Config{Dir: filepath.Join(s.data, archiveFolder), Blobs: blobs, Now: time.Now})
	if err != nil {
		return err
	}
	builder, err := build.New(build.Config{Dir: filepath.Join(s.data, buildFolder), Blobs: blobs})
	if err != nil {
		return err
	}
	s.registry, err = registry.New(registry.Config{
		Dir: filepath.Join(s.data, registryFolder), Blobs: blobs, Pushed: s.pushed,
		Quotas: func() map[string]imx.RegistryQuota { return s.control.Registry().Quotas },
	})
	if err != nil {
		return err
	}
	data, err := filepath.Abs(s.data)
	if err != nil {
		return err
	}
	engineConfig, err := engineConfig(data, prefix)
	if err != nil {
		return err
	}
	engineConfig.Log, engineConfig.Verify = s.logger, s.prove
	engineConfig.Knock = func(service, from string) { s.scaler.Knock(service, from) }
	engineConfig.Files = func(d imx.Digest) (io.ReadCloser, error) { return blobs.Open(d) }
	engineConfig.Roots = func(ctx context.Context, image imx.Digest) (string, error) {
		leave, err := s.pipeline.Enter(ctx)
		if err != nil {
			return "", err
		}
		defer leave()
		path, _, err := builder.Root(ctx, image)
		return path, err
	}
	s.keeper = keeper.New(keeper.Config{Control: s.control, Place: ingressPlace(data, engineConfig.ID), Version: s.version, Log: s.logger})
	engineConfig.Open = s.keeper.Open
	if s.engine, err = local.Open(ctx, engineConfig); err != nil {
		return err
	}
	if err := endTrials(ctx, s.data); err != nil {
		return err
	}
	checks := newChecks(s)
	if s.judge, err = s.openJudge(blobs); err != nil {
		return err
	}
	s.pipeline = pipeline.New(pipeline.Config{
		Control: s.control, Archive: debs, Builder: builder, Blobs: blobs,
		Stores:  []func() gc.Store{s.kits, s.registry.Things, builder.Things, blobs.Things},
		Publish: s.publish, Keep: s.keep, Attest: s.attest, Doubted: func(d imx.Digest) error { return s.attester.Doubted(d) }, Admit: s.engine.Admit, AdmitIngress: s.keeper.Free, Check: checks.pass, Checked: checks.state, Architecture: runtime.GOARCH, Now: time.Now,
		Judge: s.judge, Tested: func(image, plan imx.Digest) (bool, error) { return s.tester.Passed(image, plan) },
		Scan: func(ctx context.Context, by imx.Principal, image imx.Image, report imx.Report) {
			s.scanner.Built(ctx, by, image, report)
		},
		Test: func(ctx context.Context, by imx.Principal, r trial.Run, report imx.Report) ([]imx.TestResult, error) {
			return s.tester.Test(ctx, by, r, report)
		},
	})
	statements := evidence.New(evidence.Config{Blobs: blobs, Refer: s.refer, Sign: s.trust.Sign, Keys: s.trust.Known})
	s.attester = attest.New(attest.Config{
		Control: s.control, Images: s.pipeline, Now: time.Now, Version: s.version, Enter: s.pipeline.Enter, Store: statements,
	})
	s.openReviews(statements)
	s.openTaker(statements)
	trials := &machines{data: data, probe: s.probe, version: s.version, serving: engineConfig, used: map[netip.Prefix]bool{}}
	s.tester = trial.New(trial.Config{Evidence: s.attester, Now: time.Now, Open: trials.open, Sandbox: trials.sandbox})
	s.counter = measure.New(measure.Config{State: s.control.State, Changed: s.control.Changed, Counted: func() { s.loop.Poke() }, Now: time.Now})
	s.loop = reconcile.New(reconcile.Config{
		Control: s.control, Engine: roomyEngine{s.engine, s.room}, Pass: s.judge.Pass, Count: s.counter.Counted, Prove: s.prove, Now: time.Now, Log: s.logger,
	})
	s.openScaler()
	if err := s.openRegistrar(); err != nil {
		return err
	}
	s.openOffers(blobs)
	return s.openScanner(debs)
}

// openScaler opens what keeps the number of instances of services with a scale block, and what tells what instances use.
func (s *server) openScaler() {
	s.meter = &meter{engine: s.engine}
	s.scaler = scaler.New(scaler.Config{
		Control: s.control, Now: time.Now, Log: s.logger,
		Load: func(ctx context.Context, services []string) (imx.Load, error) { return s.engine.Load(ctx, services...) },
		Open: s.connections, Asked: s.keeper.Asked, Requests: measure.Requests,
	})
}

// connections counts those that are open to a service's instances; -1 where the machine doesn't tell. That an ingress may send
// requests to an instance keeps that from being stopped, and is no connection.
func (s *server) connections(ctx context.Context, service string) (int, error) {
	seen, err := s.engine.Observe(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, in := range seen.Instances {
		switch {
		case in.Service != service:
		case in.Flows < 0:
			return -1, nil
		case in.Flows > 0 && s.keeper.Unused(in.Address):
			n += in.Flows - 1
		default:
			n += in.Flows
		}
	}
	return n, nil
}

// engineConfig names what the engine makes on this machine after the data folder, so that
// several servers can live beside each other.
func engineConfig(data string, prefix netip.Prefix) (local.Config, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return local.Config{}, err
	}
	id, err := engineID(data)
	if err != nil {
		return local.Config{}, err
	}
	table, err := nft.New(tableName(id))
	if err != nil {
		return local.Config{}, err
	}
	return local.Config{Dir: filepath.Join(data, engineFolder), ID: id, Network: prefix, Firewall: table}, nil
}

func (s *server) close() {
	if s.scanner != nil {
		s.scanner.Close()
	}
	if s.registrar != nil {
		if err := s.registrar.audit.Close(); err != nil {
			s.logger.Warn("the registry's audit trail isn't whole", slog.Any("error", err))
		}
	}
	if s.keys != nil {
		_ = s.keys.Close()
	}
	if s.log != nil {
		_ = s.log.Close() // every append was synced when it was confirmed
	}
}

// pushed writes down a manifest that came into the registry, from a build or from outside.
func (s *server) pushed(ctx context.Context, p imx.ManifestPushed) error {
	by, known := registry.Caller(ctx)
	if !known { // not through the registry's door: a request of the API, or the server by itself
		if caller, err := api.Caller(ctx); err == nil {
			by, known = s.who(caller), true
		}
	}
	if !known || strings.HasPrefix(p.Tag, registry.BuiltTag) {
		by = imx.Server
	}
	return s.control.Record(by, p)
}

// who is who acts when a local account asks.
func (s *server) who(account string) imx.Principal { return who(s.control, account) }

func who(c *control.Control, account string) imx.Principal {
	return imx.Caller(c.State().People, account)
}

func (s *server) publish(ctx context.Context, repository, tag string, r build.Result) error {
	_, err := s.registry.Put(ctx, repository, tag, r.Manifest, r.MediaType)
	return err
}

func (s *server) keep(ctx context.Context, repository, tag string, manifest []byte) error {
	_, err := s.registry.Put(ctx, repository, tag, manifest, frozen.ManifestType)
	return err
}

// attest states what is known of a built image.
func (s *server) attest(ctx context.Context, by imx.Principal, b provenance.Build, report imx.Report) error {
	b.Version = s.version
	if err := s.attester.Built(ctx, by, b, report); err != nil {
		return err
	}
	s.scanner.Built(ctx, by, b.Image, report)
	return nil
}

// openJudge opens what says what may run. It asks the attester and the pipeline, which are made later.
func (s *server) openJudge(blobs *blob.Store) (*verdict.Judge, error) {
	return verdict.New(verdict.Config{
		Control: s.control, Environment: s.environment, Version: s.version, Now: time.Now, Log: s.logger,
		Bundle: func(d imx.Digest) ([]byte, error) { return blobs.ReadAll(d, sign.MaxBundle) },
		State: func(ctx context.Context, by imx.Principal, c attest.Claim) (imx.Evidence, error) {
			return s.attester.Add(ctx, by, c)
		},
		Find:   func(ctx context.Context, wanted string) (imx.ImageView, error) { return s.pipeline.Find(ctx, wanted) },
		Drafts: func(c imx.Candidate) ([]imx.Release, error) { return s.pipeline.Drafts(c) },
	})
}

// kits tells which kits of tests are needed.
func (s *server) kits() gc.Store {
	return trial.Kept{State: s.control.State, Read: s.attester.Read}.Things()
}

// refer puts a manifest beside the one that it says something about.
func (s *server) refer(ctx context.Context, repository string, manifest []byte) error {
	return s.keep(ctx, repository, "", manifest)
}

func (s *server) handler(v imx.Version) http.Handler {
	return api.New(api.Config{
		Applier:   s.pipeline,
		Taker:     s.taker,
		Operator:  operator{s},
		Healer:    s.control,
		Rollouts:  s.control,
		Viewer:    viewer{s, v},
		Images:    s.pipeline,
		Evidence:  s.attester,
		Trust:     s.trust,
		Who:       s.who,
		Judge:     s.judge,
		Desk:      s.desk,
		Sources:   s.follower,
		Logs:      logs{s.engine},
		Freezer:   freezer{s},
		Scanner:   s.scanner,
		Registrar: s.registrar,
		Offers:    offers{s.offers},
		Registry:  s.behind(nil),
		Collector: s,
		Ingresses: ingresses{s},
		Log:       s.logger,
	})
}

// Purge ends everything that the engine of a data folder left running, for a server that is gone,
// and takes down what it made. The log, the images and the volumes stay.
// A damaged log doesn't hinder it. Errors: Conflict while a server holds the folder.
func Purge(ctx context.Context, data string) error {
	release, err := eventlog.Hold(filepath.Join(data, logFolder))
	if err != nil {
		return err
	}
	prefix, err := network(data, "")
	if err != nil {
		return errors.Join(err, release())
	}
	engineConfig, err := engineConfig(data, prefix)
	if err == nil {
		err = errors.Join(ingressPlace(data, engineConfig.ID).Purge(ctx), local.Purge(ctx, engineConfig), endTrials(ctx, data))
	}
	if err == nil {
		err = build.Unlock(filepath.Join(data, buildFolder))
	}
	return errors.Join(err, release())
}

// Traces lists what a data folder's server has on this machine outside of that folder, for its services and for tests.
// With all its services destroyed and no test running, or after a Purge, there is nothing.
func Traces(data string) ([]string, error) {
	prefix, err := network(data, "")
	if err != nil {
		return nil, err
	}
	cfg, err := engineConfig(data, prefix)
	if err != nil {
		return nil, err
	}
	all, err := trialConfigs(data)
	if err != nil {
		return nil, err
	}
	found, err := ingressPlace(data, cfg.ID).Traces()
	if err != nil {
		return nil, err
	}
	for _, one := range append([]local.Config{cfg}, all...) {
		traces, err := local.Traces(one)
		if err != nil {
			return nil, err
		}
		found = append(found, traces...)
		table, err := nft.New(tableName(one.ID))
		if err != nil {
			return nil, err
		}
		there, err := table.Exists()
		if err != nil {
			return nil, err
		}
		if there {
			found = append(found, "table inet "+tableName(one.ID))
		}
	}
	return found, nil
}

// engineID is made from the data folder's path, so that it stays and no two folders share one.
func engineID(data string) (string, error) {
	path, err := filepath.Abs(data)
	return imx.DigestBytes([]byte(path)).Short()[:6], err
}

func tableName(id string) string { return "imx_" + id }

// VerifyLog checks the log of a data folder from its files alone, and that it grew out of earlier
// checkpoints.
func VerifyLog(ctx context.Context, data string, earlier ...imx.Checkpoint) (imx.LogCheck, error) {
	return eventlog.Verify(ctx, filepath.Join(data, logFolder), fits, earlier...)
}

// newID returns an id that people can type: 8 hexadecimal digits.
func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

var _ engine.Engine = (*local.Engine)(nil)
