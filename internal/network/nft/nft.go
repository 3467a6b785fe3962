// Package nft brings a network.Ruleset into the Linux kernel as one nftables table, through
// netlink and without the nft program. It decides nothing about who may talk to whom, makes no
// interface, route or sysctl, and touches no other table: packets that don't concern the
// ruleset's network or interfaces pass as if the table weren't there.
//
// Every change is one transaction: the kernel goes from the old rules to the new ones at once, and
// a packet sees either. Established connections go on under new rules.
package nft

import (
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/google/nftables"

	"imx"
	"imx/internal/network"
)

// Table is one table of family inet. Its methods may be called from several goroutines at once. It
// works in the network namespace of the thread that first calls Apply, and holds two sockets from
// then until Remove.
type Table struct {
	name string

	mu     sync.Mutex
	group  uint16   // of netlink, to which attempts are reported that wait
	kernel *sockets // nil while closed
	// What is in force, as far as this Table knows; nil where it doesn't.
	applied *model
	// The kernel's count of transactions when it was known that the table is as applied, and what
	// its rules looked like then.
	generation uint32
	rules      fingerprint
}

// New names a table and touches nothing yet. The table belongs to the caller: whatever is in one
// of that name already goes with the first Apply. Errors: Invalid for a name that isn't letters,
// digits, '-' and '_', beginning with a letter.
func New(table string) (*Table, error) {
	if !regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,63}$`).MatchString(table) {
		return nil, imx.Errorf(imx.Invalid, "%q can't name a table of packet filter rules", table)
	}
	return &Table{name: table, group: firstGroup(table)}, nil
}

// Apply brings the rules into force. After an error the rules are as before. Only what differs
// from the rules that the Table brought in last is sent, unless somebody else has changed the table
// since: then all of it is written anew.
//
// Errors: Refused without the right to change packet filter rules, Unavailable where the kernel
// has no nf_tables, Invalid for rules that don't fit its names.
func (t *Table) Apply(ctx context.Context, r network.Ruleset) error {
	if err := ctx.Err(); err != nil {
		return imx.Errorf(imx.Unavailable, "the network rules weren't changed: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted, err := newModel(r, t.group)
	if err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	if err := t.bring(wanted); err != nil {
		t.close() // there may be answers left in it
		return explain(err)
	}
	return nil
}

// bring makes the kernel's table the wanted one.
func (t *Table) bring(wanted model) error {
	generation, err := t.kernel.readGeneration()
	if err != nil {
		return err
	}
	if t.applied != nil && generation != t.generation && t.compare() != nil {
		t.applied = nil
	}
	if t.applied != nil && t.applied.network == wanted.network && t.applied.group == wanted.group && t.change(*t.applied, wanted) == nil {
		return t.remember(wanted, generation)
	}
	// Unknown, or changed by somebody at this very moment: a failed change left no trace.
	t.applied = nil
	t.close()
	if err := t.open(); err != nil {
		return err
	}
	if err := t.rewrite(wanted); err != nil {
		return err
	}
	return t.remember(wanted, generation)
}

// remember notes what was applied. The kernel counts one generation for each transaction: if there
// was more than ours, somebody else's was among them, and the next Apply looks before it trusts.
func (t *Table) remember(m model, before uint32) error {
	structural := t.applied == nil || !t.applied.sameRules(m)
	t.applied = nil
	if structural {
		var err error
		if t.rules, err = t.readRules(); err != nil {
			return err
		}
	}
	after, err := t.kernel.readGeneration()
	if err != nil {
		return err
	}
	t.applied, t.generation = &m, after
	if after-before > 1 {
		t.generation = before
	}
	return nil
}

// Remove takes the table away, if it is there.
func (t *Table) Remove(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return imx.Errorf(imx.Unavailable, "the network rules weren't removed: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.open(); err != nil {
		return err
	}
	defer t.close()
	t.applied = nil
	b := t.newBatch()
	b.conn.AddTable(b.table) // so that there is one to delete
	b.conn.DelTable(b.table)
	return explain(b.commit())
}

// Check tells whether the kernel still has what was applied last. While nobody changes any packet
// filter rules that costs one question, so it can be asked often. Errors: Conflict if somebody else
// changed the table; the next Apply then writes everything anew.
func (t *Table) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return imx.Errorf(imx.Unavailable, "the network rules weren't checked: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.applied == nil {
		return imx.Errorf(imx.Conflict, "no rules were applied to the table inet %s yet", t.name)
	}
	if t.applied.group != t.group {
		return imx.Errorf(imx.Conflict, "the table inet %s reports waiting connections to a group that isn't its own", t.name)
	}
	if err := t.open(); err != nil {
		return err
	}
	generation, err := t.kernel.readGeneration()
	if err == nil && generation != t.generation {
		err = t.compare()
	}
	if err != nil {
		t.applied = nil
		t.close() // there may be answers left in it
		return explain(err)
	}
	t.generation = generation
	return nil
}

// Exists reports whether the kernel has the table, whoever made it.
func (t *Table) Exists() (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, explain(err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, explain(err)
	}
	return slices.ContainsFunc(tables, func(x *nftables.Table) bool { return x.Name == t.name }), nil
}
