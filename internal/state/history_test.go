package state_test

import (
	"reflect"
	"testing"

	"imx"
	"imx/internal/state"
)

func TestHistoryIsWhatTheLogHasOfOneServicesRollouts(t *testing.T) {
	both := imx.Applied{Apply: "a1", Releases: []imx.Release{{Service: "api", Number: 4}, {Service: "web", Number: 2}}, Replicas: map[string]int{"api": 3}}
	events := []imx.Body{
		both,
		imx.Applied{Apply: "a2", Releases: []imx.Release{{Service: "api", Number: 5}}},
		imx.RolloutStepped{Service: "web", Release: 2, Share: 10},
		imx.RolloutStepped{Service: "api", Release: 5, Share: 10},
		imx.RolloutWaits{Service: "web", Release: 2, Reason: "too little traffic"},
		imx.RolloutPaused{Service: "web", Release: 2},
		imx.RolloutPromoted{Service: "web", Release: 2},
		imx.TrafficMoved{Service: "web", Weights: imx.Weights{2: 100}},
		imx.RolloutFinished{Service: "web", Release: 2},
		imx.RolloutFailed{Service: "web", Release: 3},
		imx.RolledBack{Service: "web", From: 2, To: 1},
		imx.TurnedBad{Service: "web", From: 2, To: 1},
		imx.HoldEnded{Service: "web"},
		imx.WayBackChanged{Service: "web"},
		imx.Scaled{Service: "web", Replicas: 3},
		imx.Destroyed{Service: "web"},
		imx.InstanceStarted{Instance: imx.Instance{Service: "web"}},
	}
	want := []imx.Body{imx.Applied{Apply: "a1", Releases: []imx.Release{{Service: "web", Number: 2}}}, events[2]}
	want = append(append(want, events[4:13]...), events[15])
	var got []imx.Body
	for i, body := range events {
		if e, about := state.History(imx.Event{Index: int64(i), Body: body}, "web"); about {
			got = append(got, e.Body)
		}
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(both.Releases) != 2 || both.Releases[0].Service != "api" {
		t.Errorf("the event itself was changed: %+v", both)
	}
}
