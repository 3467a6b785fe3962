package registry

import (
	"encoding/json"
	"errors"
	"net/http"

	"cuelabs.dev/go/oci/ociregistry"

	"imx"
)

// fault is an imx error with the code that the distribution specification gives it. It is an
// ociregistry.Error, which ociserver looks for, and an *imx.Error to everybody else.
type fault struct {
	err    *imx.Error
	code   code
	header map[string]string // of the answer
}

// code is a failure that the API foresees.
type code int

const (
	codeNameInvalid code = iota
	codeTagInvalid
	codeDigestInvalid
	codeSizeInvalid
	codeTooLarge
	codeManifestInvalid
	codeManifestBlobUnknown
	codeNameUnknown
	codeBlobUnknown
	codeManifestUnknown
	codeUploadUnknown
	codeUploadBusy
	codeRangeInvalid
	codeTagTaken
	codeNoDelete
	codeReadOnly
	codeTagReserved
	codeTooManyUploads
	codeOverQuota
	codeUnauthorized
	codeDenied
)

// meaning is what a code is on the wire and to the rest of imx.
type meaning struct {
	name   string // the specification's error code
	status int
	kind   imx.Kind
}

func (c code) meaning() meaning {
	return [...]meaning{
		codeNameInvalid:         {"NAME_INVALID", http.StatusBadRequest, imx.Invalid},
		codeTagInvalid:          {"TAG_INVALID", http.StatusBadRequest, imx.Invalid},
		codeDigestInvalid:       {"DIGEST_INVALID", http.StatusBadRequest, imx.Invalid},
		codeSizeInvalid:         {"SIZE_INVALID", http.StatusBadRequest, imx.Invalid},
		codeTooLarge:            {"SIZE_INVALID", http.StatusRequestEntityTooLarge, imx.Invalid},
		codeManifestInvalid:     {"MANIFEST_INVALID", http.StatusBadRequest, imx.Invalid},
		codeManifestBlobUnknown: {"MANIFEST_BLOB_UNKNOWN", http.StatusNotFound, imx.NotFound},
		codeNameUnknown:         {"NAME_UNKNOWN", http.StatusNotFound, imx.NotFound},
		codeBlobUnknown:         {"BLOB_UNKNOWN", http.StatusNotFound, imx.NotFound},
		codeManifestUnknown:     {"MANIFEST_UNKNOWN", http.StatusNotFound, imx.NotFound},
		codeUploadUnknown:       {"BLOB_UPLOAD_UNKNOWN", http.StatusNotFound, imx.NotFound},
		codeUploadBusy:          {"BLOB_UPLOAD_INVALID", http.StatusConflict, imx.Conflict},
		codeRangeInvalid:        {"RANGE_INVALID", http.StatusRequestedRangeNotSatisfiable, imx.Invalid},
		codeTagTaken:            {"DENIED", http.StatusConflict, imx.Conflict},
		codeNoDelete:            {"UNSUPPORTED", http.StatusMethodNotAllowed, imx.Refused},
		codeReadOnly:            {"DENIED", http.StatusMethodNotAllowed, imx.Refused},
		codeTagReserved:         {"DENIED", http.StatusForbidden, imx.Refused},
		codeOverQuota:           {"DENIED", http.StatusForbidden, imx.Exhausted}, // clients show what is said with a 4xx alone
		codeUnauthorized:        {"UNAUTHORIZED", http.StatusUnauthorized, imx.Refused},
		codeDenied:              {"DENIED", http.StatusForbidden, imx.Refused},
		codeTooManyUploads:      {"TOOMANYREQUESTS", http.StatusTooManyRequests, imx.Unavailable},
	}[c]
}

func faultf(c code, format string, args ...any) *fault {
	return &fault{err: imx.Errorf(c.meaning().kind, format, args...), code: c}
}

func (f *fault) withHint(hint string) *fault {
	f.err.Hint = hint
	return f
}

// Error implements error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap gives the imx error.
func (f *fault) Unwrap() error { return f.err }

// Code implements ociregistry.Error.
func (f *fault) Code() string { return f.code.meaning().name }

// Detail implements ociregistry.Error: the hint, where there is one.
func (f *fault) Detail() json.RawMessage { return hintDetail(f.err) }

func hintDetail(e *imx.Error) json.RawMessage {
	if e.Hint == "" {
		return nil
	}
	b, err := json.Marshal(map[string]string{"hint": e.Hint})
	if err != nil {
		return nil // can't be: it is a map of strings
	}
	return b
}

// writeError answers with an error in the specification's form. ociserver's own errors pass as they are.
func writeError(w http.ResponseWriter, _ *http.Request, err error) {
	var f *fault
	var known *imx.Error
	switch {
	case errors.As(err, &f):
		for k, v := range f.header {
			w.Header().Set(k, v)
		}
		answer(w, f.code.meaning().status, ociregistry.WireError{Code_: f.Code(), Message: f.Error(), Detail_: f.Detail()})
	case errors.As(err, &known):
		answer(w, known.Kind.HTTPStatus(), ociregistry.WireError{Code_: kindCode(known.Kind), Message: err.Error(), Detail_: hintDetail(known)})
	default:
		_ = ociregistry.WriteError(w, err) // the client is gone if it fails
	}
}

func answer(w http.ResponseWriter, status int, e ociregistry.WireError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(ociregistry.WireErrors{Errors: []ociregistry.WireError{e}}) // the client is gone if it fails
}

// kindCode is the code for errors that the specification doesn't foresee; UNKNOWN is what clients
// know from other registries.
func kindCode(k imx.Kind) string {
	if k == imx.Refused {
		return "DENIED"
	}
	return "UNKNOWN"
}
