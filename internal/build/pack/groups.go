package pack

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"imx"
	"imx/internal/build/tree"
)

// The layers of an image, from the lowest:
//
//   - the frame, which is the same in all images
//   - for each source package, in the order of their names, what its packages carry and no script
//     changed, with dpkg's stanzas of them: the packages of one source are patched together
//   - of images with very many sources, what the smallest of them carry, in one layer
//   - what scripts made and changed
//   - the files and directories of the template
//
// What is in a source's layer follows from its own packages and the general rules alone, so images that
// share a package share its layer, and a patch moves no other.

// maxSources is how many sources have a layer of their own. With the other layers these are 100: tools
// that mount images give up at 127.
const maxSources = 96

// Package is a package of an image, with what its .deb has.
type Package struct {
	imx.InventoryPackage
	Has map[string]*tree.Item // by path
}

func byName(a, b Package) int { return cmp.Compare(a.Ref(), b.Ref()) }

// Group is what goes into one layer.
type Group struct {
	Says  string // what it is, for the image's history
	Items []*tree.Item
}

// undated is the time of what neither a package nor a plan dates: the frame and packages' directories.
func undated() int64 { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix() }

// Arrange says which items go into which layer, and dates them all: what packages carry as they have
// it, what scripts made or changed with the epoch. A directory that several packages carry is in the
// layer of each, as that has it; where that isn't what it came to in the end, the layer of what scripts
// changed has the last word. Layers laid over each other give the tree. The order of ships doesn't matter.
func Arrange(t tree.Tree, ships []Package, epoch time.Time) []Group {
	ships = slices.SortedFunc(slices.Values(ships), byName)
	named := map[string]Package{}
	for _, s := range ships {
		named[s.Name] = s
	}
	frame, changed := tree.Tree{}, tree.Tree{}
	for name, it := range t {
		it.Time = epoch.Unix()
		switch it.Origin {
		case imx.OriginFrame:
			it.Time = undated()
			frame[name] = it
		case imx.OriginPackage:
			was := named[it.Owner].Has[name]
			switch {
			case it.Mode.IsDir():
				it.Time = undated()
			case was != nil && it.IsAs(was):
				it.Time = was.Time
			default:
				changed[name] = it
			}
		case imx.OriginGenerated, imx.OriginTemplate:
			changed[name] = it
		}
	}
	groups := append([]Group{{"what every image has", frame.Sorted()}}, bySource(t, ships)...)
	correct(t, changed, groups)
	return append(groups, Group{"what scripts of the packages made", t.WithParents(changed)})
}

// bySource returns a group for each source package, and one for the smallest where there are too many.
func bySource(t tree.Tree, ships []Package) []Group {
	sources := map[string][]Package{}
	for _, s := range ships {
		sources[s.Source] = append(sources[s.Source], s)
	}
	groups := map[string]Group{}
	sizes := map[string]int64{}
	for name, own := range sources {
		groups[name] = Group{"source package " + name, carried(t, own)}
		for _, it := range groups[name].Items {
			sizes[name] += it.Size
		}
	}
	names := slices.SortedFunc(maps.Keys(sources), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	var small []Package
	if len(names) > maxSources {
		for _, name := range names[maxSources:] {
			small = append(small, sources[name]...)
		}
		names = names[:maxSources]
	}
	slices.Sort(names)
	var list []Group
	for _, name := range names {
		list = append(list, groups[name])
	}
	if small != nil {
		list = append(list, Group{"further source packages", carried(t, small)})
	}
	return list
}

// carried returns what the packages carry, as they have it, and the directories above that.
func carried(t tree.Tree, ships []Package) []*tree.Item {
	own := tree.Tree{}
	for _, s := range ships {
		for name, was := range s.Has {
			it := t[name]
			switch {
			case it == nil:
			case it.Mode.IsDir() && was.Mode.IsDir():
				if own[name] == nil {
					own[name] = folder(name, was)
				}
			case it.Owner == s.Name && it.Origin == imx.OriginPackage && it.IsAs(was):
				own[name] = it
			}
		}
	}
	for _, it := range own.Sorted() {
		for dir := path.Dir(it.Path); dir != "." && own[dir] == nil; dir = path.Dir(dir) {
			own[dir] = folder(dir, &tree.Item{Mode: fs.ModeDir | 0o755})
		}
	}
	return own.Sorted()
}

// folder is a directory as a package has it.
func folder(name string, was *tree.Item) *tree.Item {
	return &tree.Item{Path: name, Mode: was.Mode, UID: was.UID, GID: was.GID, Time: undated()}
}

// correct adds to changed those directories of the tree that the groups don't have as they are.
func correct(t, changed tree.Tree, groups []Group) {
	last := tree.Tree{}
	for _, g := range groups {
		for _, it := range g.Items {
			last[it.Path] = it
		}
	}
	for name, it := range t {
		if was := last[name]; it.Mode.IsDir() && (was == nil || !it.IsAs(was) || it.Time != was.Time) {
			changed[name] = it
		}
	}
}
