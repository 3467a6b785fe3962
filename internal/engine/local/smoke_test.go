package local_test

import (
	"context"
	"testing"
	"time"
	"fmt"
	"io"
	"net/netip"
	"imx"
	"imx/internal/engine"
	"imx/internal/engine/local"
)

func TestSmoke(t *testing.T) {
	m := newMachine(t)
	e, err := local.Open(t.Context(), m.cfg)
	if err != nil { t.Fatal(err) }
	r := imx.Release{Service: "app", Number: 1, Image: m.image, Config: imx.ImageSpec{User: "app", Command: []string{"/bin/app"}},
		Spec: imx.Spec{Name: "app", Environment: map[string]string{"PORT":"80"}, Ports: []imx.Port{{Name:"http", Container: 80}},
		Health: imx.Health{Every: imx.Duration(time.Second), HTTP: &imx.HTTPCheck{Port:"http", Path:"/healthz"}}, Grace: imx.Duration(5*time.Second)},
		Address: netip.MustParseAddr("10.213.0.3")}
	t0 := time.Now()
	if err := e.Scale(t.Context(), r, 2); err != nil { t.Fatal(err) }
	fmt.Println("scale", time.Since(t0))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx, func(){ fmt.Println("changed", time.Since(t0)) }) }()
	time.Sleep(1*time.Second)
	s, _ := e.Observe(ctx)
	fmt.Printf("%+v\n", s)
	rd, err := e.Logs(ctx, s.Instances[0].ID, engine.LogOptions{Times: true})
	if err != nil { t.Fatal(err) }
	b, err := io.ReadAll(rd)
	fmt.Printf("%s %v\n", b, err)
	e.Scale(ctx, r, 0)
	time.Sleep(1*time.Second)
	s, _ = e.Observe(ctx)
	fmt.Printf("%+v\n", s)
	fmt.Println(e.Remove(ctx, "app", engine.DeleteVolumes))
	cancel()
	<-done
}
