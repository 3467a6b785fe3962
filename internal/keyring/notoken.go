//go:build !pkcs11

package keyring

import "imx"

// OpenToken refuses: this build has no PKCS#11, which needs cgo.
func OpenToken(string) (Store, error) {
	return nil, imx.Errorf(imx.Invalid, "this imx was built without PKCS#11").WithHint("build it with: CGO_ENABLED=1 go build -tags pkcs11 ./cmd/imx")
}
