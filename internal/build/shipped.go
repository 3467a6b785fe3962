package build

import (
	"bytes"
	"cmp"
	"context"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"imx"
	"imx/internal/build/pack"
	"imx/internal/build/tree"
	"imx/internal/deb"
)

// shipped returns the packages that p's image takes, sorted by name.
func (b *Builder) shipped(ctx context.Context, p imx.ImagePlan, t tree.Tree) ([]pack.Package, error) {
	all, asked := make([]pack.Package, len(p.Ship)), p.Spec.Asked()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, pkg := range p.Ship {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c, err := b.contents(pkg)
			if err != nil {
				return err
			}
			stanza := t[stanzaPath(pkg.Name)]
			text, err := stanza.Content()
			if err != nil {
				return err
			}
			own := *stanza // the stanza is as old as the package and goes where its files go
			own.Time = c.Newest
			c.Has[own.Path] = &own
			all[i].Has = c.Has
			all[i].InventoryPackage, err = about(pkg, text)
			all[i].Asked = asked[pkg.Name]
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b pack.Package) int { return cmp.Compare(a.Ref(), b.Ref()) })
	return all, nil
}

func stanzaPath(name string) string { return path.Join("var/lib/dpkg/status.d", name) }

// about reads what an inventory says of a package from dpkg's stanza.
func about(p imx.Package, stanza []byte) (imx.InventoryPackage, error) {
	s, err := deb.ReadStanzas(bytes.NewReader(stanza), "dpkg's status").Next()
	if err != nil {
		return imx.InventoryPackage{}, err
	}
	said := s.Inventory()
	said.Package = p
	return said, nil
}
