// Package engine is what a rollout needs of a machine that runs instances: so many of this
// release, the traffic here, what is there. It decides nothing about releases (package rollout
// does), keeps no state of its own and appends no event.
//
// engine/local runs instances on this machine, engine/fake in memory under a test's control;
// both pass engine/enginetest.
package engine

import (
	"cmp"
	"context"
	"io"

	"imx"
	"imx/internal/admission"
)

// Engine runs instances. Every method is level-triggered and idempotent: calling it again with the
// same arguments changes nothing. All may be called from several goroutines at once.
type Engine interface {
	Runner
	Observer

	// Admit reports whether the engine could run the release and changes nothing. The error is of
	// kind Conflict where a published port, or the preview port, is held by somebody else (it names the port and, where
	// it can be known, the holder), NotFound where the image's root is missing, Invalid where the
	// image has no such user, no command or not the file that the command names.
	Admit(ctx context.Context, r imx.Release) error

	// Route sends a service's new connections to where r says, in one transaction: every connection
	// goes either where it went before or where it goes now. The error is of kind Conflict where a
	// published port, or a preview port, is held by somebody else; the traffic then stays where it was.
	Route(ctx context.Context, r Route) error

	// Keep keeps a release for the way back as its Spec.How().Warm says, until a Scale to 0 or a Remove lets it go: its
	// root stays mounted and its bytes are verified again from time to time, which Observe tells of in Seen.Kept. It
	// starts nothing. With WarmFrozen, n of its instances that are healthy are frozen (Warm) once they have finished
	// their connections, or had Spec.Drain for it since they lost their traffic: what is open then is reset. They stay Healthy
	// till then, with the Reason Draining(Freezing). Its other instances, and all of a release that holds a volume or is WarmStopped, are
	// told to stop as by Stop. A Warm instance has no traffic and isn't checked. One on a root that is found to be changed
	// is told to stop. The error is of kind Conflict while the service's route leads to the release;
	// a Route to it ends the freezing of what isn't frozen yet.
	Keep(ctx context.Context, r imx.Release, n int) error

	// Run checks health, ends what is being stopped and takes away what ended instances leave, until
	// ctx ends. It calls changed when what Observe returns has changed; changed must not block. It
	// stops no instance when it returns. Without a Run nothing gets healthy.
	Run(ctx context.Context, changed func()) error
}

// Observer tells what there is, what it uses and what it wrote.
type Observer interface {
	// Observe returns what is there: from the processes themselves, not from memory alone.
	Observe(ctx context.Context) (imx.Seen, error)

	// Load measures what the instances of some services use, as far as their scale blocks ask for it, and counts the new
	// connections to them. If none is named it measures all, and all that they use.
	Load(ctx context.Context, services ...string) (imx.Load, error)

	// Logs returns the lines that the instance wrote, also after its end. The caller closes the
	// reader. The error is of kind NotFound for an instance that the engine no longer keeps.
	Logs(ctx context.Context, id string, o imx.LogOptions) (io.ReadCloser, error)
}

// Runner starts and ends instances.
type Runner interface {
	// Scale sees to it that n instances of the release exist, not counting those that are stopping, warm
	// or have ended. It thaws warm ones before it starts any, and returns when they run, healthy or not: a thawed one is
	// Starting, and checked at once. Surplus
	// ones are told to stop as by Stop, unhealthy ones first, then the newest; their stopping goes
	// on after the return. Scaled to 0, its warm ones are too, and it is kept no longer; but
	// one that Sleeps and that the service's route leads to is kept without an instance, until it is scaled up. On an error the instances that could be started stay. Nothing is started unless
	// the pass covers the release, and nothing thawed: the error then is of kind Refused, and whether to stop some doesn't depend on it.
	Scale(ctx context.Context, p admission.Pass, r imx.Release, n int) error

	// Stop ends one instance without a request being lost. It loses its traffic; then it drains: it
	// has until Spec.Drain after that to finish the connections that it has; then it gets its stop
	// signal and, Spec.Grace later, SIGKILL. It drains no longer than it has established
	// connections (where the engine can't count them, for the whole Drain), hardly at all if it is
	// unhealthy or holds a volume (until it is gone nothing serves in its place, and pools of
	// connections never end by themselves), and not if it never was healthy. It is Stopping all that time, with the Reason
	// Draining(reason) while it drains. Stop returns when the traffic is taken away. A later Scale
	// starts another in its place. An instance that is stopping or has ended is left alone; the
	// error for an unknown one is of kind NotFound.
	Stop(ctx context.Context, id, reason string) error

	// Remove forgets a service: its routes, its ended instances with their logs and, if v says so,
	// its volumes. The error is of kind Conflict while instances of the service are left that
	// haven't ended: Scale them to 0 first. An unknown service is no error.
	Remove(ctx context.Context, service string, v Volumes) error
}

// Route says where a service's traffic goes: new connections to its address and its published
// ports are shared by Weights among the healthy instances of its releases. If there is none, to
// those unhealthy ones that once were healthy: a failing check must not take the last one away.
type Route struct {
	Service string `json:"service"`
	// Releases hold the ports and the address: all those that Weights name, and any others whose
	// published ports are to stay held meanwhile. None at all means those of the route before.
	Releases []imx.Release `json:"releases"`
	// Weights are the shares per release number. Nil means no traffic: connections are refused.
	Weights imx.Weights `json:"weights"`
	// Preview is the release whose instances the service's preview port leads to, as if it had all the weight. It is
	// one of Releases. 0 refuses connections to that port.
	Preview int `json:"preview,omitempty"`
}

// PreviewOf is the release's preview port and the port of the instance that it leads to, that of its first published
// port. Both are 0 for a release without.
func PreviewOf(r imx.Release) (outside, inside int) {
	for _, p := range r.Spec.Ports {
		if p.Publish != 0 && r.Spec.How().Preview != 0 {
			return r.Spec.How().Preview, p.Container
		}
	}
	return 0, 0
}

// Ports are those of the machine that the release needs to have to itself: what it publishes, and that of its preview.
func Ports(r imx.Release) []int {
	var ports []int
	for _, p := range r.Spec.Ports {
		if p.Publish != 0 {
			ports = append(ports, p.Publish)
		}
	}
	if outside, _ := PreviewOf(r); outside != 0 {
		ports = append(ports, outside)
	}
	return ports
}

// WithPreview adds to what Seen has of previews that of a service's route, if it leads to a release.
func WithPreview(all map[string]int, r Route) map[string]int {
	if r.Preview == 0 {
		return all
	}
	if all == nil {
		all = map[string]int{}
	}
	all[r.Service] = r.Preview
	return all
}

// CompareKept is the order of Seen.Kept.
func CompareKept(a, b imx.Kept) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Release, b.Release))
}

// LeadsTo reports whether the route gives a release new connections, if only of its preview port.
func (r Route) LeadsTo(release int) bool { return r.Weights[release] > 0 || r.Preview == release }

// StillRouted is Keep's error for a release that has traffic.
func StillRouted(r imx.Release) error {
	return imx.Errorf(imx.Conflict, "release %d of service %q has traffic, so it can't be kept aside", r.Number, r.Service).
		WithHint("route the service to another release first")
}

// Volumes says what becomes of a removed service's volumes.
type Volumes int

// The fates of volumes.
const (
	KeepVolumes Volumes = iota
	DeleteVolumes
)

// Freezing is why an instance finishes its connections that is to be warm.
const Freezing = "kept for the way back"

// Draining is the reason that an instance shows which was told to stop for a reason and is
// finishing its connections.
func Draining(reason string) string { return reason + "; it finishes its connections first" }

// KitCommand is a program that a test runs beside an instance, with a kit as its root.
type KitCommand struct {
	Instance string    // its id
	Kit      imx.Image // an imx.Kit, built
	Args     []string
}
