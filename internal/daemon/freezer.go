package daemon

import (
	"context"
	"strings"

	"imx"
	"imx/internal/frozen"
)

// freezer keeps packages for good, and lists what is kept.
type freezer struct {
	*server
}

// Freeze keeps every package that a lock names.
func (f freezer) Freeze(ctx context.Context, _ imx.Principal, req imx.FreezeRequest, report imx.Report) (imx.Frozen, error) {
	return f.pipeline.Freeze(ctx, req, report)
}

// Archives lists the suites that were seen, and the frozen sets. What somebody pushed to the repositories of
// frozen sets without being one isn't listed.
func (f freezer) Archives(ctx context.Context) (imx.Archives, error) {
	all := imx.Archives{Suites: append([]imx.LockedSuite{}, f.control.State().Suites...), Frozen: []imx.Frozen{}}
	tagged, err := f.registry.Tagged(imx.FrozenPrefix)
	if err != nil {
		return all, err
	}
	for _, t := range tagged {
		manifest, _, err := f.registry.Manifest(ctx, t.Repository, t.Tag)
		if err != nil {
			return all, err
		}
		set, err := frozen.Read(manifest, func(d imx.Digest, size int64) ([]byte, error) { return f.registry.Blob(t.Repository, d, size) })
		if imx.KindOf(err) == imx.Refused {
			continue
		}
		if err != nil {
			return all, err
		}
		one := set.Describe(strings.TrimPrefix(t.Repository, imx.FrozenPrefix))
		one.Tag = t.Tag
		all.Frozen = append(all.Frozen, one)
	}
	return all, nil
}
