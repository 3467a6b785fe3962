// Package keeper sees to it that requests from outside come where the state says: it starts the front, gives it sockets and
// certificates, tells it of each change, and finds it again after the server's own end. It answers no request and decides no
// route.
package keeper

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"imx"
	"imx/internal/control"
	"imx/internal/ingress"
	"imx/internal/ingress/front"
)

// Config is what a Keeper joins.
type Config struct {
	Control *control.Control
	Place   Place
	Version string
	Log     *slog.Logger
}

// Keeper keeps one front.
type Keeper struct {
	cfg     Config
	files   files
	restart chan struct{}
	heard   time.Time // when the front last answered; Run's alone
	tidied  bool      // nothing is left of fronts that there were; Run's alone

	mu    sync.Mutex
	front *running // nil: there is none
	// sockets are the listening sockets by port. A front has its own of each: with them here too, what waits on one while a front is
	// gone is there for the next.
	sockets map[int]*os.File
	told    told
	faults  map[string]string // what is wrong, by what is: "port 80", "process"
	ends    ends
	asked   map[string]int64 // what Asked was told last
}

// told is what a front was told last.
type told struct {
	config    imx.Digest         // of what it confirmed; "" before
	addresses map[netip.Addr]int // that it may send requests to, as far as is known
}

// New returns a Keeper. It starts nothing.
func New(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, files: files{}, restart: make(chan struct{}, 1), sockets: map[int]*os.File{}, faults: map[string]string{}}
}

// look is how often the process and the files of certificates are looked at, if nothing else happens.
const look = time.Second

// Run keeps the front as the state says until ctx ends, and leaves it as it is then.
func (k *Keeper) Run(ctx context.Context) error {
	k.adopt(ctx)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		changed := k.cfg.Control.Changed()
		k.settle(ctx, k.cfg.Control.State())
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		case <-k.restart:
			k.replace(ctx)
		}
	}
}

// Restart has another process take the present one's place, without a connection being dropped. It returns before that.
func (k *Keeper) Restart() {
	select {
	case k.restart <- struct{}{}:
	default: // it is about to
	}
}

// settle brings the front to where the state wants it. What can't be done is in the log, once, and tried again.
func (k *Keeper) settle(ctx context.Context, s *imx.State) {
	c := ingress.From(s)
	if len(c.Ingresses) == 0 {
		k.finish(ctx)
		return
	}
	for _, in := range c.Ingresses {
		for _, files := range in.Certificates {
			one := k.files.read(files)
			one.Ingress = in.Name
			c.Certificates = append(c.Certificates, one)
			k.note(ctx, "certificate of "+files.Host, one.Fault)
		}
	}
	err := k.alive(ctx)
	if err == nil {
		err = k.tell(ctx, c)
	}
	k.note(ctx, "process", words(err))
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// note remembers what is wrong with something, "" for nothing, and logs it where that is new.
func (k *Keeper) note(ctx context.Context, what, fault string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.faults[what] == fault {
		return
	}
	k.faults[what] = fault
	if fault == "" {
		delete(k.faults, what)
		return
	}
	k.cfg.Log.LogAttrs(ctx, slog.LevelError, "the ingress isn't as it should be", slog.String("what", what), slog.String("fault", fault))
}

// silence is how long a process may be too busy to answer before it counts as stuck.
const silence = time.Minute

// alive makes sure that a front answers. One that is gone, or stuck, is replaced, with the sockets that it had.
func (k *Keeper) alive(ctx context.Context) error {
	if k.front != nil {
		_, err := k.front.client().Busy()
		if err == nil {
			k.heard = time.Now()
			return nil
		}
		if k.front.lives() && time.Since(k.heard) < silence {
			return err
		}
		k.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the ingress' process is gone; another is started", slog.Int("pid", k.front.record.Pid), k.ended(k.front))
		k.front.kill()
		k.setFront(nil)
	}
	if wait := k.ends.pause(time.Now()); wait > 0 {
		return imx.Errorf(imx.Unavailable, "the process ended again and again: %s; the next begins in %v", k.ends.last.Reason, wait.Round(time.Second))
	}
	f, err := k.cfg.Place.start(ctx, k.cfg.Version)
	if err != nil {
		return err
	}
	k.setFront(f)
	k.heard = time.Now()
	return k.cfg.Place.remember(f.record)
}

// setFront changes the front, which knows nothing yet as far as is known.
func (k *Keeper) setFront(f *running) {
	kills := k.cfg.Place.kills()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.front, k.told, k.tidied, k.ends.kills = f, told{}, false, kills
}

// tell has the front do what c says, unless it does already.
func (k *Keeper) tell(ctx context.Context, c ingress.Config) error {
	digest := imx.DigestJSON(c)
	if k.told.config == digest {
		return nil
	}
	k.plug(ctx, c)
	k.mu.Lock()
	may := maps.Clone(k.told.addresses)
	if may == nil {
		may = map[netip.Addr]int{}
	}
	maps.Copy(may, c.Addresses())
	k.told.addresses = may
	k.mu.Unlock()
	if _, err := k.front.client().Configure(c); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.unplugged(c) {
		k.told.config = digest
	}
	k.told.addresses = c.Addresses()
	return nil
}

// unplugged reports whether the configuration has a port that couldn't be had: it is tried again.
func (k *Keeper) unplugged(c ingress.Config) bool {
	for _, in := range c.Ingresses {
		for _, port := range in.Ports() {
			if k.sockets[port] == nil {
				return true
			}
		}
	}
	return false
}

// plug gives the front the sockets of the ports that it has none of, and lets go of those that the configuration doesn't have.
func (k *Keeper) plug(ctx context.Context, c ingress.Config) {
	wanted := map[int]bool{}
	for _, in := range c.Ingresses {
		for _, port := range in.Ports() {
			wanted[port] = true
			k.note(ctx, "port "+strconv.Itoa(port), words(k.plugOne(ctx, port)))
		}
	}
	k.unplug(wanted)
}

// unplug closes the sockets of all ports but those that are wanted.
func (k *Keeper) unplug(wanted map[int]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for port, socket := range k.sockets {
		if !wanted[port] {
			_ = socket.Close() // nothing is written through it
			delete(k.sockets, port)
		}
	}
}

func (k *Keeper) plugOne(ctx context.Context, port int) error {
	socket := k.sockets[port]
	if socket == nil {
		var err error
		if socket, err = bind(ctx, port); err != nil {
			return err
		}
		k.mu.Lock()
		k.sockets[port] = socket
		k.mu.Unlock()
	} else if k.told.config != "" {
		return nil // it has it
	}
	return k.front.client().Listen(port, socket)
}

// bind listens on a port of the machine.
func bind(ctx context.Context, port int) (*os.File, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, imx.Errorf(imx.Conflict, "the ingress can't listen on port %d: %w", port, err).
			WithHint("`ss -tanp sport = :%d` tells who does; end that, or give the ingress another port", port)
	}
	defer l.Close() // the file is a copy
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, imx.Errorf(imx.Internal, "port %d isn't TCP", port)
	}
	return tcp.File()
}

// Free reports whether an ingress could have its ports, as far as others than services are concerned: those that the
// ingresses have already are theirs. The error is of kind Conflict where somebody else has one.
func (k *Keeper) Free(ctx context.Context, in imx.Ingress) error {
	for _, port := range in.Ports() {
		k.mu.Lock()
		mine := k.sockets[port] != nil
		k.mu.Unlock()
		if mine {
			continue
		}
		socket, err := bind(ctx, port)
		if err != nil {
			return err
		}
		_ = socket.Close() // nothing was written
	}
	return nil
}

// finish ends the front of a state without ingresses.
func (k *Keeper) finish(ctx context.Context) {
	if k.front == nil {
		k.tidied = k.tidied || k.cfg.Place.tidy()
		return
	}
	if err := k.front.client().Drain(); err != nil {
		k.front.kill()
	}
	k.unplug(nil)
	k.setFront(nil)
	k.mu.Lock()
	k.faults = map[string]string{}
	k.mu.Unlock()
	k.note(ctx, "process", words(k.cfg.Place.forget()))
}

// replace starts another process beside the present one, which gets its sockets and all that it was told; only then the
// present one finishes what it has.
func (k *Keeper) replace(ctx context.Context) {
	old := k.front
	if old == nil {
		return
	}
	k.awaken(ctx, old)
	f, err := k.cfg.Place.start(ctx, k.cfg.Version)
	if err != nil {
		k.note(ctx, "process", words(err))
		return
	}
	k.setFront(f)
	k.settle(ctx, k.cfg.Control.State())
	if k.told.config == "" {
		f.kill() // it doesn't serve: the one that does stays
		k.setFront(old)
		return
	}
	k.note(ctx, "process", words(errors.Join(k.cfg.Place.remember(f.record), old.client().Drain())))
}

// waking is how long the requests of a process that wait for services that sleep may keep it from being replaced: longer than any of them.
const waking = 35 * time.Second

// awaken lets the requests that wait for services that sleep have their instances: a process that was replaced isn't told of them.
func (k *Keeper) awaken(ctx context.Context, f *running) {
	tick := time.NewTicker(look / 10)
	defer tick.Stop()
	for end := time.Now().Add(waking); time.Now().Before(end); {
		changed := k.cfg.Control.Changed()
		k.settle(ctx, k.cfg.Control.State())
		if st, err := f.client().Status(); err != nil || st.Process.Waiting == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// adopt finds the front that another server left, and replaces it where it is of another imx. One that is stuck is ended.
func (k *Keeper) adopt(ctx context.Context) {
	r, ok := k.cfg.Place.remembered()
	if !ok {
		return
	}
	f := &running{record: r}
	sockets, err := f.client().Listeners()
	for began := time.Now(); err != nil && f.lives() && time.Since(began) < silence; sockets, err = f.client().Listeners() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
		}
	}
	if err != nil {
		f.kill()
		return
	}
	k.mu.Lock()
	k.sockets = sockets
	k.mu.Unlock()
	k.setFront(f)
	k.heard = time.Now()
	if r.Program != program() {
		k.Restart()
	}
}

// Asked is how many requests each service has answered through ingresses since the present process began; nil if none runs. What can't be
// asked just now is as it was told last: a service doesn't seem busy, or idle, because of that.
func (k *Keeper) Asked() map[string]int64 {
	k.mu.Lock()
	f := k.front
	k.mu.Unlock()
	if f == nil {
		return nil
	}
	counts, err := f.client().Counts()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		return maps.Clone(k.asked)
	}
	k.asked = map[string]int64{}
	for _, c := range counts {
		k.asked[c.Service] += c.Requests
	}
	return maps.Clone(k.asked)
}

// Open are the instances whose requests the front hasn't finished, or to which it may send more: what it was told last may still have
// them. Nil if no front runs.
func (k *Keeper) Open() map[netip.Addr]int {
	busy, may := k.uses()
	for a := range may {
		if busy == nil {
			busy = map[netip.Addr]int{}
		}
		busy[a] = max(busy[a], 1)
	}
	return busy
}

// Unused reports whether Open counts an instance only because the front may send requests to it: there is none.
func (k *Keeper) Unused(a netip.Addr) bool {
	busy, may := k.uses()
	return may[a] > 0 && busy[a] == 0
}

// uses are the instances that have requests of the front's, and those that it may send more.
func (k *Keeper) uses() (busy, may map[netip.Addr]int) {
	k.mu.Lock()
	f, may := k.front, maps.Clone(k.told.addresses)
	k.mu.Unlock()
	if f == nil {
		return nil, nil
	}
	busy, err := f.client().Busy()
	if err != nil {
		return nil, nil
	}
	return busy, may
}

// Views tell how it stands with the ingresses of a state.
func (k *Keeper) Views(s *imx.State) []imx.IngressView {
	k.mu.Lock()
	f, faults, lost := k.front, maps.Clone(k.faults), k.ends.last
	k.mu.Unlock()
	var st front.Status
	if f != nil {
		var err error
		if st, err = f.client().Status(); err != nil {
			faults["process"] = err.Error()
		}
	}
	if lost.Count > 0 {
		st.Process.Lost = &lost
	}
	c := ingress.From(s)
	views := make([]imx.IngressView, 0, len(c.Ingresses))
	for _, in := range c.Ingresses {
		v := imx.IngressView{Ingress: in, Process: st.Process, Certificates: st.Certificates[in.Name]}
		for _, port := range in.Ports() {
			if slices.Contains(st.Ports, port) {
				v.Listening = append(v.Listening, port)
			}
		}
		for _, what := range slices.Sorted(maps.Keys(faults)) {
			v.Faults = append(v.Faults, what+": "+faults[what])
		}
		for _, r := range c.Routes {
			if r.Ingress == in.Name {
				v.Routes = append(v.Routes, routeView(c, r, st))
			}
		}
		views = append(views, v)
	}
	return views
}

func routeView(c ingress.Config, r ingress.Route, st front.Status) imx.RouteView {
	v := imx.RouteView{Route: r.Route, Service: r.Service, Release: r.Release, Instances: len(c.Pools[r.Pool].Instances)}
	for _, in := range c.Pools[r.Pool].Instances {
		if slices.Contains(st.Suspect, in.ID) {
			v.Suspect = append(v.Suspect, in.ID)
		}
	}
	for _, n := range st.Counts {
		if n.Service == r.Service {
			v.Counts = append(v.Counts, n)
		}
	}
	return v
}
