// Package imx_test checks the few things that the glossary does, apart from naming.
package imx_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"imx"
)

func TestAnErrorKeepsEveryErrorThatItWraps(t *testing.T) {
	inner := imx.Errorf(imx.NotFound, "no such blob")
	for _, err := range []error{
		imx.Errorf(imx.Internal, "reading: %w", inner),
		imx.Errorf(imx.Internal, "reading: %w, then closing: %w", io.ErrUnexpectedEOF, inner),
		fmt.Errorf("outside: %w", imx.Errorf(imx.Internal, "%w and %w", inner, io.EOF)),
	} {
		if !errors.Is(err, inner) {
			t.Errorf("%v has lost %q", err, inner)
		}
		if imx.KindOf(err) != imx.Internal {
			t.Errorf("%v is %s: the outer kind counts", err, imx.KindOf(err))
		}
	}
}

func TestAHopelessTemplateGetsABoundedAnswer(t *testing.T) {
	all := make(imx.Diagnostics, imx.MaxDiagnostics+7)
	first := all.First()
	if n := len(first); n != imx.MaxDiagnostics+1 || first[n-1].Summary != "there are 7 more mistakes than the 1000 shown" {
		t.Errorf("%d diagnostics, the last says %q", n, first[n-1].Summary)
	}
	if few := all[:3]; len(few.First()) != 3 {
		t.Error("three mistakes aren't all told")
	}
}
