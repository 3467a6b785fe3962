package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"imx"
	"imx/internal/api"
	"imx/internal/blob"
	"imx/internal/offer"
)

// openOffers opens what states what runs here, for the server of the next environment.
func (s *server) openOffers(blobs *blob.Store) {
	s.offers = offer.New(offer.Config{
		State: s.control.State, Read: blobs.ReadAll, Size: blobs.Size, Keep: s.pipeline.Keep, Refer: s.refer, Sign: s.trust.Sign,
		Enter: s.pipeline.Enter, Now: time.Now,
	})
}

// offering answers those who ask for offers at an address of the registry, by whose door they come in.
func (s *server) offering(everybody []imx.RegistryRight, images http.Handler) http.Handler {
	door := s.registrar.door(everybody)
	offers := offer.Desk{
		Maker: s.offers, Note: s.registrar.audit.Note,
		Visit: func(req *http.Request) (offer.Visitor, error) {
			v, err := door.Visit(req)
			asks := offer.Visitor{By: v.By, From: v.From, Known: v.Token != "" || v.May == nil}
			if v.May != nil {
				asks.May = func(repository string) bool { return v.May(imx.Pull, repository) }
			}
			return asks, err
		},
	}.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == offer.Path {
			offers.ServeHTTP(w, req)
			return
		}
		images.ServeHTTP(w, req)
	})
}

// offers answers root's questions for offers.
type offers struct{ maker *offer.Maker }

// Offer implements api.Offers.
func (o offers) Offer(ctx context.Context, service, asked string) (json.RawMessage, error) {
	bundle, _, err := o.maker.Offer(ctx, offer.Query{Service: service, Asked: asked})
	return bundle, err
}

var _ api.Offers = offers{}
