package imx

import "time"

// State is the fold of the log up to, not including, the event Next.
type State struct {
	Next      int64               `json:"next"`
	Time      time.Time           `json:"time"` // of the last event folded in
	Services  map[string]Service  `json:"services"`
	Instances map[string]Instance `json:"instances"`           // by id; of each service, a number of those that ended last stay
	Images    map[Digest]Image    `json:"images"`              // by ImagePlan.Digest
	Ingresses map[string]Ingress  `json:"ingresses,omitempty"` // by name
	// Evidence is the newest of each predicate type, by Image.Digest and that type.
	Evidence map[Digest]map[string]Evidence `json:"evidence,omitempty"`
	// Environment is whose policy counts here; "" before a server's first start.
	Environment string `json:"environment,omitempty"`
	// Keys are by ID, People and Candidates too, Policies by environment, Sources by name.
	Keys     map[string]Key       `json:"keys,omitempty"`
	People   map[Principal]Person `json:"people,omitempty"`
	Policies map[string]Policy    `json:"policies,omitempty"`
	// PolicyChanges are who last set each environment's policy, or gave it back imx's own.
	PolicyChanges map[string]PolicyChange `json:"policyChanges,omitempty"`
	Exceptions    map[string]Exception    `json:"exceptions,omitempty"`
	Candidates    map[string]Candidate    `json:"candidates,omitempty"` // open ones, and a number of those that ended last
	Sources       map[string]GitSource    `json:"sources,omitempty"`
	// Verdicts are the newest on each service's releases, by service and release number.
	Verdicts map[string]map[int]Verdict `json:"verdicts,omitempty"`
	Feeds    map[string]Feed            `json:"feeds,omitempty"` // by name
	// Upstreams are the servers that releases come from, by environment.
	Upstreams map[string]Upstream `json:"upstreams,omitempty"`
	Suites    []LockedSuite       `json:"suites"` // the newest verified index of each
	// Codenames are those of suites that are called otherwise ("stable"), by archive and suite with a blank between.
	Codenames map[string]string `json:"codenames,omitempty"`
	Registry  RegistryState     `json:"registry,omitzero"`
	Apply     *ApplyStarted     `json:"apply,omitempty"`
	ApplyBy   Principal         `json:"applyBy,omitempty"`
	ApplyAt   time.Time         `json:"applyAt,omitzero"`
	// Mended is the last time that somebody else changed the machine's network and it was put back; nil if never.
	Mended *Mend `json:"mended,omitempty"`
}

// Base names where some services stand, as far as a plan of them is compared with it: their
// targets and, unless imx sets them by itself, numbers of instances. A rollout that is finished meanwhile doesn't change it, one
// that failed does.
func (s *State) Base(services []string) Digest {
	type standing struct{ Target, Replicas int }
	base := map[string]standing{}
	for _, name := range services {
		v := s.Services[name]
		base[name] = standing{v.Target, v.Replicas}
		if v.SizesItself() {
			base[name] = standing{v.Target, 0}
		}
	}
	return DigestJSON(base)
}

// Checkpoint is a signed statement that the log had Size events with this Merkle root.
type Checkpoint struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // base64, as on C2SP tlog-checkpoint's third line
	Note string `json:"note"` // the signed note itself
	Key  string `json:"key"`  // the verifier key, as golang.org/x/mod/sumdb/note writes it
}
