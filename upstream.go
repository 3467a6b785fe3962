package imx

import "time"

// Upstream is another server that a release must have been good on before it comes here: the environment before this one. It is asked at the TCP
// address of its registry, and believed only what keys say that were made known with it.
type Upstream struct {
	Environment string `json:"environment"` // the other server's; its name here, too
	Address     string `json:"address"`     // https://HOST or http://HOST:PORT, as of a registry
	// TokenFile is the path of a file on this machine with a token of the other registry; "" to come without one.
	TokenFile string    `json:"tokenFile,omitempty"`
	By        Principal `json:"by"`
	Since     time.Time `json:"since"` // when it was made known first
	// Keys are the IDs of those that came with it, sorted: its own, and those of its own upstreams.
	Keys []string `json:"keys"`
}

// UpstreamRequest asks to know another server, or to change what is known of it.
type UpstreamRequest struct {
	Environment string `json:"environment,omitempty"` // "" means as Keys say
	Address     string `json:"address,omitempty"`     // "" leaves what is known; unless it is another one, the file of the token stays too
	TokenFile   string `json:"tokenFile,omitempty"`
	// Keys are what `imx key export` printed there. None leave those that are known; others are added to them.
	Keys *KeyExport `json:"keys,omitempty"`
}

// KeyExport are the public keys of a server, for another one: its own, and those of its own upstreams, since what it runs they may have built.
type KeyExport struct {
	Environment string `json:"environment"` // that it was exported from
	// Keys that count or did, as they are known there: Environment is never "", the server's own have KeyExport.Environment. Of the server's own there are those
	// that count elsewhere (Role.Abroad), of its upstreams' a builder's and a tester's.
	Keys []Key `json:"keys"`
}

// Offer is the predicate of type PredicateOffer: what a server states of a plan that it runs and that another one may take over. Its subjects are
// the plan, named "plan", and each image by its repository. The key of the role releaser signs it, anew each time when it is asked for.
type Offer struct {
	Environment string     `json:"environment"`
	Asked       string     `json:"asked"` // what who asks made up, so that nobody can give them an older answer
	At          time.Time  `json:"at"`    // when it was answered
	Plan        Digest     `json:"plan"`
	Proof       Digest     `json:"proof,omitempty"` // Release.Proof
	Request     Digest     `json:"request"`         // Release.Request
	Services    []Serving  `json:"services"`        // each one of the plan, sorted by name
	Images      []Offering `json:"images"`          // each one of the plan, in its order
}

// Since is from when on all services ran what the plan says, without a break: the latest of theirs.
func (o Offer) Since() time.Time {
	var latest time.Time
	for _, s := range o.Services {
		if s.Since.After(latest) {
			latest = s.Since
		}
	}
	return latest
}

// Serving is a release that has all the traffic of its service, and is good.
type Serving struct {
	Service string    `json:"service"`
	Release int       `json:"release"`
	Image   Digest    `json:"image"`
	Since   time.Time `json:"since"` // Service.Finished
}

// Offering is an image with what its server states of it.
type Offering struct {
	Image    Image      `json:"image"`    // Image.Name is its repository
	Artifact Digest     `json:"artifact"` // of the manifest that refers to the image and holds plan, request and inventory: ArtifactPlan
	Evidence []Evidence `json:"evidence"` // the newest of each type that counts
}

// ArtifactPlan is the type of the artifact with which a plan goes from registry to registry: an OCI 1.1 manifest that refers to an image of the plan. Its
// layers are the plan, the request that it was made of, and the image's inventory, each with its media type.
const (
	ArtifactPlan   = "application/vnd.imx.plan.v1"
	MediaPlan      = "application/vnd.imx.plan.v1+json"
	MediaRequest   = "application/vnd.imx.request.v1+zstd" // JSON under zstd
	MediaInventory = "application/vnd.imx.inventory.v1+json"
)

// Origin is where a candidate or a release was good before it came here, as the signed Offer says that it names.
type Origin struct {
	Environment string    `json:"environment"`
	Bundle      Digest    `json:"bundle"` // of the signed Offer, in the blob store
	Signer      string    `json:"signer"` // Key.ID
	Since       time.Time `json:"since"`  // Offer.Since
	At          time.Time `json:"at"`     // Offer.At
}

// TakeoverRequest asks to release here what another environment runs.
type TakeoverRequest struct {
	From     string   `json:"from,omitempty"`     // the upstream's environment; "" means the policy's After, or the only one
	Services []string `json:"services,omitempty"` // whose plan is meant; none means all that the upstream offers, which must be of one plan
	DryRun   bool     `json:"dryRun,omitempty"`
	// Plan and Base are those that somebody agreed to: it is refused with a Conflict if another plan is offered by now, or if what it would change is
	// no longer what it was compared with. "" expects nothing.
	Plan Digest `json:"plan,omitempty"`
	Base Digest `json:"base,omitempty"`
	// Account is PlanRequest.Account.
	Account string `json:"-"`
}

// What happens to upstreams.
type (
	// UpstreamSet makes another server known, or changes what is known of it. Its keys come with KeyAdded, before it.
	UpstreamSet struct {
		Upstream Upstream `json:"upstream"`
	}
	// UpstreamRemoved ends it. What came from there stays; its keys end with it, but for those that came with another upstream too.
	UpstreamRemoved struct {
		Environment string `json:"environment"`
		Reason      string `json:"reason,omitempty"`
	}
)

func (UpstreamSet) kind() string     { return "upstream-set" }
func (UpstreamRemoved) kind() string { return "upstream-removed" }
