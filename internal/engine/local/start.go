package local

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imx"
)

// startAll starts n instances of the release at once. Those that fail are recorded as ended.
func (e *Engine) startAll(ctx context.Context, r imx.Release, n int) error {
	made, err := e.register(ctx, r, n)
	errs := []error{err}
	failures := e.startMade(ctx, r, made)
	for i, in := range made {
		if failures[i] == nil {
			continue
		}
		errs = append(errs, failures[i])
		e.abandon(context.WithoutCancel(ctx), in, failures[i])
	}
	e.poke()
	return errors.Join(errs...)
}

// startMade takes registered instances from their record to their running process. It returns one
// error, or nil, for each.
func (e *Engine) startMade(ctx context.Context, r imx.Release, made []*instance) []error {
	e.gate.RLock()
	defer e.gate.RUnlock()
	failures := make([]error, len(made))
	fail := func(err error) []error {
		for i := range failures {
			failures[i] = errors.Join(failures[i], err)
		}
		return failures
	}
	if len(made) == 0 {
		return nil
	}
	b, err := e.ground(ctx, r)
	if err != nil {
		return fail(err)
	}
	each(made, failures, func(in *instance) error {
		return errors.Join(e.cfg.plumb(in.record), e.cgroups.make(in.record.Instance.ID, r.Spec.Resources))
	})
	// Before its first instruction an instance may say what the rules allow, and nothing else.
	if err := e.apply(ctx); err != nil {
		return fail(err)
	}
	each(made, failures, func(in *instance) error { return e.startOne(ctx, in, b) })
	return failures
}

// each calls f for all instances that haven't failed, at once.
func each(made []*instance, failures []error, f func(*instance) error) {
	var group sync.WaitGroup
	for i, in := range made {
		if failures[i] == nil {
			group.Go(func() { failures[i] = f(in) })
		}
	}
	group.Wait()
}

// register gives n instances an id and an address and writes their records: the first thing that
// exists of an instance, so that whatever follows is found again.
func (e *Engine) register(ctx context.Context, r imx.Release, n int) ([]*instance, error) {
	if err := runnable(r); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	used := map[netip.Addr]bool{}
	for _, in := range e.instances {
		if !in.record.Cleared {
			used[in.record.Instance.Address] = true
		}
	}
	var made []*instance
	for range n {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		address, err := e.cfg.address(e.last, used)
		if err != nil {
			return made, err
		}
		in := newInstance(r, address, e.cfg.linkName(address))
		if err := e.store.putInstance(in.record); err != nil {
			return made, errors.Join(err, os.RemoveAll(e.store.instance(in.record.Instance.ID)))
		}
		e.last, used[address] = address, true
		e.instances[in.record.Instance.ID] = in
		made = append(made, in)
	}
	return made, nil
}

// runnable reports whether instances of the release could be run at all.
func runnable(r imx.Release) error {
	for _, program := range []string{"conmon", "crun"} {
		if _, err := exec.LookPath(program); err != nil {
			return imx.Errorf(imx.Unavailable, "this machine lacks the program %s, which instances are run with", program).
				WithHint("install it: apt install %s", program)
		}
	}
	_, err := command(r)
	return err
}

func newInstance(r imx.Release, address netip.Addr, link string) *instance {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	tag := strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))[:5]
	now := time.Now().UTC()
	return &instance{
		release: r, starting: true, nudge: make(chan struct{}, 1), told: make(chan struct{}),
		record: record{
			Boot: bootID(), Link: link, Lost: now,
			Instance: imx.Instance{
				ID:      fmt.Sprintf("%s-%d-%s", r.Service, r.Number, tag),
				Service: r.Service, Release: r.Number, Image: r.Image.Digest,
				Address: address, Phase: imx.Starting, Started: now, Changed: now,
			},
		},
	}
}

// ground makes what all instances of the release share, and returns what their specifications have
// in common.
func (e *Engine) ground(ctx context.Context, r imx.Release) (bundle, error) {
	root, err := e.roots.prepare(ctx, r)
	if err != nil {
		return bundle{}, err
	}
	if err := e.prepareHost(); err != nil {
		return bundle{}, err
	}
	if err := e.roots.placeRuntime(); err != nil {
		logFailure(ctx, e.cfg.Log, "instances start more slowly: crun could not be mounted read-only", err)
	}
	as, err := tree(root).accounts()
	if err != nil {
		return bundle{}, err
	}
	user, err := as.resolve(r.Config.User)
	if err != nil {
		return bundle{}, err
	}
	b := bundle{release: r, root: root, accounts: as, identity: user, volumes: e.store.volume(r.Service), probe: e.cfg.Probe}
	if b.nofile, err = openFilesLimit(); err != nil {
		return bundle{}, err
	}
	if b.oomScore, err = ownOOMScore(); err != nil {
		return bundle{}, err
	}
	return b, e.makeVolumes(b)
}

// prepareHost makes what instances need of the machine. All of it is idempotent.
func (e *Engine) prepareHost() error {
	return errors.Join(e.cfg.claim(), os.MkdirAll(e.cfg.netnsDir(), 0o700))
}

// startOne takes an instance from its plumbing to its process.
func (e *Engine) startOne(ctx context.Context, in *instance, b bundle) error {
	b.record = in.record
	b.netns = filepath.Join(e.cfg.netnsDir(), in.record.Instance.ID)
	made, err := e.launch(ctx, b)
	if err != nil {
		return err
	}
	initHandle, err := made.init.open()
	if err != nil {
		return err
	}
	monitor, err := made.monitor.open()
	if err != nil {
		initHandle.close()
		return err
	}
	e.mu.Lock()
	in.init, in.monitor, in.starting = initHandle, monitor, false
	in.record.Init, in.record.Monitor = made.init, made.monitor
	in.record.Instance.Pid = made.init.Pid
	err = e.store.putInstance(in.record)
	stopped := in.record.Instance.Phase == imx.Stopping
	e.mu.Unlock()
	if err != nil {
		return err // an instance that a later server would take for half made must not live
	}
	if stopped {
		return in.init.signal(stopSignal(b.release))
	}
	return nil
}

// abandon ends an instance whose start failed, and says why.
func (e *Engine) abandon(ctx context.Context, in *instance, cause error) {
	e.mu.Lock()
	in.starting = false
	exit, reason := imx.Exit{Code: -1}, imx.AsError(cause).Message
	if u, ok := errors.AsType[unrunnable](cause); ok {
		exit.Code, reason = u.code, u.Error()
	}
	in.record.end(exit, time.Now(), reason)
	e.keep(ctx, in.record)
	e.mu.Unlock()
	e.settle(ctx, in)
	e.tidyUp(ctx)
}

// makeVolumes makes the service's volumes that aren't there yet; each belongs to its owner from
// its first moment on.
func (e *Engine) makeVolumes(b bundle) error {
	for _, v := range b.release.Spec.Volumes {
		owner := b.identity
		if v.Owner != "" {
			var err error
			if owner, err = b.accounts.resolve(v.Owner); err != nil {
				return fmt.Errorf("volume %s: %w", v.Name, err)
			}
		}
		if err := makeVolume(filepath.Join(b.volumes, v.Name), owner); err != nil {
			return diskError(err, "making volume "+v.Name+" of service "+b.release.Service)
		}
	}
	return nil
}

func makeVolume(dir string, owner identity) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	if err := os.Chown(temp, int(owner.UID), int(owner.GID)); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, dir)
}

// stopSignal is the image's stop signal, SIGTERM if it names none or one that doesn't exist.
func stopSignal(r imx.Release) unix.Signal {
	name := strings.ToUpper(r.Config.StopSignal)
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return unix.Signal(n)
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); s != 0 {
		return s
	}
	return unix.SIGTERM
}

// openFilesLimit is what instances may raise their limit of open files to: never more than the
// engine itself may.
func openFilesLimit() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("local: reading the limit of open files: %w", err)
	}
	return min(l.Max, 1<<20), nil
}

// ownOOMScore is the engine's own oom_score_adj, which an unprivileged machine lets nobody go below.
func ownOOMScore() (int, error) {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, fmt.Errorf("local: %w", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(score, 0), err
}
