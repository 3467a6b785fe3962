package imx

import (
	"encoding/json"
	"time"
)

// Statement says something about things named by digest: an in-toto Statement v1
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
type Statement struct {
	Type          string          `json:"_type"` // StatementType
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"` // one of the Predicate constants, or a stranger's
	Predicate     json.RawMessage `json:"predicate"`
}

// StatementType is the type of every Statement.
const StatementType = "https://in-toto.io/Statement/v1"

// Subject is what a Statement is about.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"` // by algorithm, in hex: {"sha256": "..."}
}

// The types of what imx itself states of an image. Those of the field are used where there is one.
const (
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	PredicateSPDX       = "https://spdx.dev/Document/v2.3"
	PredicateCycloneDX  = "https://cyclonedx.org/bom/v1.6"
	PredicateScan       = "https://in-toto.io/attestation/vulns/v0.2"
	PredicateTest       = "https://in-toto.io/attestation/test-result/v0.1"
	PredicateVEX        = "https://openvex.dev/ns/v0.2.0"
	// PredicateCheck holds the findings of the template that an image was made from.
	PredicateCheck = "urn:imx:check:v1"
	// PredicateReview holds a person's yes or no to a plan, as a ReviewPredicate.
	PredicateReview = "urn:imx:review:v1"
	// PredicateVerdict is SLSA's verification summary: the policy's answer.
	PredicateVerdict = "https://slsa.dev/verification_summary/v1"
	// PredicateOffer holds an Offer: that a server runs a plan, and since when. It is signed when asked for, and is no Evidence.
	PredicateOffer = "urn:imx:offer:v1"
)

// PredicateNames are short names of the types of what imx states, by type.
func PredicateNames() map[string]string {
	return map[string]string{
		PredicateProvenance: "provenance", PredicateSPDX: "spdx", PredicateCycloneDX: "cyclonedx", PredicateScan: "scan",
		PredicateTest: "test", PredicateVEX: "vex", PredicateCheck: "check", PredicateReview: "review", PredicateVerdict: "verdict",
	}
}

// Evidence is a Statement that was kept about an image. Its bytes are in the blob store, and in the registry
// as a referrer of the image's manifest.
type Evidence struct {
	Image         Digest    `json:"image"`
	PredicateType string    `json:"predicateType"`
	Statement     Digest    `json:"statement"` // of the Statement's JSON
	Manifest      Digest    `json:"manifest"`  // of the referrer
	Made          time.Time `json:"made"`      // the log's time of its EvidenceAdded
	// Bundle is the digest of the Statement's signed form, a sigstore bundle, and Signer the ID of the Key that signed it;
	// both "" for what was kept before statements were signed.
	Bundle Digest `json:"bundle,omitempty"`
	Signer string `json:"signer,omitempty"`
	// There is when it was kept first, on the server where it was stated: First of what the signed Offer says that it was taken over by. Whether an upstream's
	// key had ended is judged by it. Zero for what was stated here.
	There time.Time `json:"there,omitzero"`
	// Passed is the answer of what has one: tests that passed, a check without unwaived findings that refuse.
	Passed  *bool  `json:"passed,omitempty"`
	Summary string `json:"summary"` // one line: "12 of 12 tests passed"
}

// First is when it was kept first, here or on the server where it was stated.
func (e Evidence) First() time.Time {
	if !e.There.IsZero() {
		return e.There
	}
	return e.Made
}

// EvidenceAdded says that a statement about an image was kept. A later one of the same type takes its place.
type EvidenceAdded struct {
	Evidence Evidence `json:"evidence"`
}

func (EvidenceAdded) kind() string { return "evidence-added" }
