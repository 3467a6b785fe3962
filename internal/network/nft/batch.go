package nft

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"imx"
)

// batch is a transaction in the making.
type batch struct {
	conn  *nftables.Conn
	table *nftables.Table
	sets  uint32 // how many were added
	err   error  // the first of making it
}

func (t *Table) newBatch() *batch {
	return &batch{conn: t.kernel.rules, table: &nftables.Table{Name: t.name, Family: nftables.TableFamilyINet}}
}

// commit sends the transaction. After an error nothing of it is in force.
func (b *batch) commit() error {
	if b.err != nil {
		return b.err
	}
	return b.conn.Flush()
}

func (b *batch) check(err error) {
	if b.err == nil {
		b.err = err
	}
}

// rewrite replaces the whole table, or makes it.
func (t *Table) rewrite(m model) error {
	b := t.newBatch()
	b.conn.AddTable(b.table) // so that there is one to delete
	b.conn.DelTable(b.table)
	b.conn.AddTable(b.table)
	names := slices.Sorted(maps.Keys(m.sets))
	for _, name := range names {
		b.addSet(name)
	}
	for _, name := range slices.Sorted(maps.Keys(m.counters())) {
		b.conn.AddObj(b.counter(name))
	}
	for _, c := range chains(m) {
		b.addChain(c)
	}
	for _, name := range names {
		b.add(name, m.sets[name])
	}
	return b.commit()
}

// change turns one model into another. Elements go before the chains that they name, and come
// after; a key whose value changes goes and comes back, which the kernel makes one step.
func (t *Table) change(from, to model) error {
	b := t.newBatch()
	for _, name := range slices.Sorted(maps.Keys(from.sets)) {
		b.remove(name, from.sets[name].missing(to.sets[name]))
	}
	for _, l := range from.lanes {
		if !slices.Contains(to.lanes, l) {
			b.conn.DelChain(&nftables.Chain{Name: l.chain(), Table: b.table})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.sets)) {
		if _, kept := to.sets[name]; !kept {
			b.conn.DelSet(b.set(name))
		}
	}
	names := slices.Sorted(maps.Keys(to.sets))
	for _, name := range names {
		if _, had := from.sets[name]; !had {
			b.addSet(name)
		}
	}
	had, has := from.counters(), to.counters()
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if !had[name] {
			b.conn.AddObj(b.counter(name))
		}
	}
	for _, l := range to.lanes {
		if !slices.Contains(from.lanes, l) {
			b.addChain(l.chainOf())
		}
	}
	for _, name := range names {
		b.add(name, to.sets[name].missing(from.sets[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(had)) {
		if !has[name] {
			b.conn.DeleteObject(b.counter(name))
		}
	}
	return b.commit()
}

func (b *batch) counter(name string) *nftables.NamedObj {
	return &nftables.NamedObj{Table: b.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}}
}

func (b *batch) addChain(c chain) {
	made := &nftables.Chain{Name: c.name, Table: b.table, Type: c.kind, Hooknum: c.hook, Priority: c.priority}
	b.conn.AddChain(made)
	for _, r := range c.rules {
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: made, Exprs: r})
	}
}

func (b *batch) addSet(name string) {
	s := b.set(name)
	b.sets++
	s.ID = b.sets // any number that is unique in the transaction
	b.check(b.conn.AddSet(s, nil))
}

// chunk bounds how many elements go into one message: the kernel measures a list in 16 bits.
const chunk = 500

func (b *batch) add(name string, es elements) {
	for some := range slices.Chunk(list(name, es), chunk) {
		b.check(b.conn.SetAddElements(b.set(name), some))
	}
}

func (b *batch) remove(name string, es elements) {
	for some := range slices.Chunk(list(name, es), chunk) {
		b.check(b.conn.SetDeleteElements(b.set(name), some))
	}
}

// holdsVerdicts reports whether the values in the set are names of chains to go to.
func holdsVerdicts(name string) bool { return name == mapServices || name == mapPublished }

// list returns elements of the named set in order.
func list(name string, es elements) []nftables.SetElement {
	var all []nftables.SetElement
	for _, key := range slices.Sorted(maps.Keys(es)) {
		element := nftables.SetElement{Key: []byte(key)}
		if holdsVerdicts(name) {
			element.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: es[key]}
		} else {
			element.Val = []byte(es[key])
		}
		all = append(all, element)
	}
	return all
}

// set describes a set or map by its name.
func (b *batch) set(name string) *nftables.Set {
	address, service := nftables.TypeIPAddr, nftables.TypeInetService
	concat := func(types ...nftables.SetDatatype) nftables.SetDatatype { return nftables.MustConcatSetType(types...) }
	s := &nftables.Set{Table: b.table, Name: name}
	switch name {
	case setInterfaces:
		s.KeyType, s.KeyByteOrder = nftables.TypeIFName, binaryutil.NativeEndian
	case setBindings:
		s.KeyType, s.Concatenation = concat(nftables.TypeIFName, address), true
	case setAllowed:
		s.KeyType, s.Concatenation = concat(address, address, service), true
	case setHairpins:
		s.KeyType, s.Concatenation = concat(address, address), true
	case setExposed:
		s.KeyType, s.Concatenation = concat(address, service), true
	case mapServices:
		s.KeyType, s.Concatenation = concat(address, service), true
		s.IsMap, s.DataType = true, nftables.TypeVerdict
	case mapPublished:
		s.KeyType, s.IsMap, s.DataType = service, true, nftables.TypeVerdict
	default: // a service's slots
		s.KeyType, s.IsMap, s.DataType, s.KeyByteOrder = nftables.TypeMark, true, address, binaryutil.NativeEndian
	}
	return s
}

// explain gives a failure of the kernel's the form that a person can use. It returns nil for nil.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return imx.Errorf(imx.Refused, "the machine's packet filter may not be changed: %w", err).
			WithHint("the server needs root, or CAP_NET_ADMIN in its network namespace")
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return imx.Errorf(imx.Unavailable, "the kernel has no nf_tables packet filter: %w", err).
			WithHint("load it: modprobe nf_tables")
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return imx.Errorf(imx.Exhausted, "the kernel has no room for the packet filter rules: %w", err)
	}
	if _, own := errors.AsType[*imx.Error](err); own {
		return err
	}
	return imx.Errorf(imx.Internal, "the packet filter rules were not taken by the kernel: %w", err)
}
