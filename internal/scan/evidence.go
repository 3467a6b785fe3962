package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"imx"
	"imx/internal/attest"
	"imx/internal/inventory"
	"imx/internal/vuln"
)

// keep makes an image's scan evidence about it.
func (s *Scanner) keep(ctx context.Context, by imx.Principal, one imx.ImageScan, feeds []imx.Feed) error {
	now := s.cfg.Now()
	predicate, err := vuln.Predicate(one, feeds, s.cfg.Version, now)
	if err != nil {
		return err
	}
	_, err = s.cfg.Evidence.Add(ctx, by, attest.Claim{
		Repository: one.Name, Image: one.Image, PredicateType: imx.PredicateScan, Predicate: predicate, Summary: vuln.Sum(one.Vulnerabilities).String(),
	})
	return err
}

// says reports whether the scan that is evidence about an image found just what this one found. One that can't be read
// says nothing.
func (s *Scanner) says(last imx.Evidence, one imx.ImageScan) bool {
	st, err := s.cfg.Evidence.Read(last)
	return err == nil && vuln.Found(st.Predicate, one.Vulnerabilities)
}

// stated is the VEX document that is kept as evidence about an image, as the state has it. One whose key doesn't count
// excuses nothing.
func (s *Scanner) stated(state *imx.State, image imx.Digest) ([]vuln.Plea, error) {
	e, ok := state.Evidence[image][imx.PredicateVEX]
	if !ok || e.Bundle != "" && s.cfg.Evidence.Counts(e) != nil {
		return nil, nil
	}
	st, err := s.cfg.Evidence.Read(e)
	if err != nil {
		return nil, err
	}
	doc, err := vuln.ParseVEX(bytes.NewReader(st.Predicate))
	return []vuln.Plea{{From: "evidence", VEX: doc}}, err
}

// Excuse states that vulnerabilities don't affect the image that a person means, and keeps that as evidence about it,
// beside what was stated of it before. It returns the whole OpenVEX document; that there is, where no vulnerability is
// named. Errors: Invalid for a reason that is none; NotFound where nothing was stated; as inventory.Find.
func (s *Scanner) Excuse(ctx context.Context, by imx.Principal, image string, req imx.VEXRequest) (json.RawMessage, error) {
	state, err := s.cfg.Server.State(time.Time{})
	if err != nil {
		return nil, err
	}
	views, err := s.cfg.Server.Images(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	v, err := inventory.Find(views, state.Services, image)
	if err != nil {
		return nil, err
	}
	known, err := s.stated(state, v.Digest)
	if err != nil {
		return nil, err
	}
	var earlier *vuln.VEX
	if len(known) > 0 {
		earlier = &known[0].VEX
	}
	if len(req.IDs) == 0 {
		if earlier == nil {
			return nil, imx.Errorf(imx.NotFound, "nothing was stated of image %s@%s", v.Name, v.Digest.Short()).
				WithHint("imx vex IMAGE ID --justification WHY states that a vulnerability doesn't affect it")
		}
		return json.Marshal(earlier)
	}
	doc, err := vuln.State(earlier, v.Name, v.Digest, vuln.Reason{
		IDs: req.IDs, Justification: req.Justification, Because: req.Because, By: string(by), Time: s.cfg.Now().UTC(),
	})
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	defer s.poke()
	_, err = s.cfg.Evidence.Add(ctx, by, attest.Claim{
		Repository: v.Name, Image: v.Digest, PredicateType: imx.PredicateVEX, Predicate: json.RawMessage(raw),
		Summary: fmt.Sprintf("%d of its vulnerabilities are excused", len(doc.Statements)),
	})
	return raw, err
}
