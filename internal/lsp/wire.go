package lsp

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/sourcegraph/jsonrpc2"

	"imx"
)

// maxMessage is how large a message of an editor may be: a text of 1 MiB, with each of its characters escaped.
const maxMessage imx.Size = 8 << 20

// framing reads messages as the protocol frames them, and no more of one than may be kept: the library's own would
// read lines and bodies of any length.
type framing struct {
	jsonrpc2.VSCodeObjectCodec

	failed chan<- error // takes why reading ended first
}

// ReadObject implements jsonrpc2.ObjectCodec.
func (f framing) ReadObject(stream *bufio.Reader, v any) error {
	err := readMessage(stream, v)
	if err != nil {
		select {
		case f.failed <- err:
		default: // the first reason is known
		}
	}
	return err
}

// maxHead is how many lines the head of a message may have: the protocol knows two.
const maxHead = 32

// readMessage reads one message. Errors: io.EOF where the stream ends between two; Invalid, Exhausted, and Unavailable for one
// that isn't whole.
func readMessage(stream *bufio.Reader, v any) error {
	length := imx.Size(-1)
	for i := range maxHead {
		line, err := stream.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case i == 0 && errors.Is(err, io.EOF) && text == "":
			return io.EOF
		case errors.Is(err, io.EOF):
			return imx.Errorf(imx.Invalid, "what comes ends within the head of a message").WithHint(foreignHint)
		case errors.Is(err, bufio.ErrBufferFull):
			return imx.Errorf(imx.Invalid, "the head of a message has a line that is longer than %v", imx.Size(stream.Size())).WithHint(foreignHint)
		case err != nil:
			return imx.Errorf(imx.Unavailable, "a message can't be read: %w", err)
		case text == "" && length < 0:
			return imx.Errorf(imx.Invalid, "a message doesn't say how long it is").WithHint(foreignHint)
		case text == "":
			return readBody(stream, length, v)
		}
		if length, err = lengthIn(text, length); err != nil {
			return err
		}
	}
	return imx.Errorf(imx.Invalid, "the head of a message has more than %d lines", maxHead).WithHint(foreignHint)
}

// foreignHint is for what doesn't come from an editor.
const foreignHint = "an editor starts imx lsp: it speaks the language server protocol"

// lengthIn returns the length that a line of a head says, or what is known where it says none.
func lengthIn(line string, known imx.Size) (imx.Size, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return 0, imx.Errorf(imx.Invalid, "the head of a message has a line without a colon").WithHint(foreignHint)
	}
	if !strings.EqualFold(name, "Content-Length") {
		return known, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	switch {
	case err != nil || n < 0:
		return 0, imx.Errorf(imx.Invalid, "a message says that it is %q long", value)
	case imx.Size(n) > maxMessage:
		return 0, imx.Errorf(imx.Exhausted, "a message has %v; it may have %v", imx.Size(n), maxMessage)
	}
	return imx.Size(n), nil
}

func readBody(stream io.Reader, length imx.Size, v any) error {
	body := make([]byte, length)
	switch _, err := io.ReadFull(stream, body); {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return imx.Errorf(imx.Unavailable, "what comes ends within a message")
	case err != nil:
		return imx.Errorf(imx.Unavailable, "a message can't be read: %w", err)
	}
	if !json.Valid(body) {
		return imx.Errorf(imx.Invalid, "a message isn't JSON").WithHint(foreignHint)
	}
	if json.Unmarshal(body, v) != nil {
		return imx.Errorf(imx.Invalid, "a message isn't JSON-RPC: it is neither a question nor an answer").WithHint(foreignHint)
	}
	return nil
}

// The messages, as far as they are used here.

type documentID struct {
	URI string `json:"uri"`
}

type openedParams struct {
	TextDocument struct {
		documentID

		Version int    `json:"version"`
		Text    string `json:"text"`
	} `json:"textDocument"`
}

type changedParams struct {
	TextDocument struct {
		documentID

		Version int `json:"version"`
	} `json:"textDocument"`
	ContentChanges []struct {
		Range *Range `json:"range"`
		Text  string `json:"text"`
	} `json:"contentChanges"`
}

// positionParams are those of all questions about a place.
type positionParams struct {
	TextDocument documentID `json:"textDocument"`
	Position     Position   `json:"position"`
	NewName      string     `json:"newName"` // of rename
	Context      struct {
		IncludeDeclaration bool `json:"includeDeclaration"`
	} `json:"context"` // of references
}

type watchedParams struct {
	Changes []documentID `json:"changes"`
}

type initializeParams struct {
	Capabilities struct {
		TextDocument struct {
			Completion struct {
				CompletionItem struct {
					SnippetSupport bool `json:"snippetSupport"`
				} `json:"completionItem"`
			} `json:"completion"`
		} `json:"textDocument"`
		Workspace struct {
			DidChangeWatchedFiles struct {
				DynamicRegistration bool `json:"dynamicRegistration"`
			} `json:"didChangeWatchedFiles"`
		} `json:"workspace"`
	} `json:"capabilities"`
}

type location struct {
	URI   string `json:"uri"`
	Range Range  `json:"range"`
}

type textEdit struct {
	Range   Range  `json:"range"`
	NewText string `json:"newText"`
}

type workspaceEdit struct {
	Changes map[string][]textEdit `json:"changes"`
}

type markup struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

type hover struct {
	Contents markup `json:"contents"`
	Range    *Range `json:"range,omitempty"`
}

type completionItem struct {
	Label         string    `json:"label"`
	Kind          OfferKind `json:"kind"`
	Detail        string    `json:"detail,omitempty"`
	Documentation *markup   `json:"documentation,omitempty"`
	SortText      string    `json:"sortText"` // offers stay in the order in which they come
	Format        int       `json:"insertTextFormat,omitempty"`
	TextEdit      textEdit  `json:"textEdit"`
}

type documentSymbol struct {
	Name           string           `json:"name"`
	Detail         string           `json:"detail,omitempty"`
	Kind           int              `json:"kind"`
	Range          Range            `json:"range"`
	SelectionRange Range            `json:"selectionRange"`
	Children       []documentSymbol `json:"children,omitempty"`
}

// diagnostic is a mistake or a finding.
type diagnostic struct {
	Range    Range  `json:"range"`
	Severity int    `json:"severity"`
	Code     string `json:"code,omitempty"` // the rule
	Source   string `json:"source"`
	Message  string `json:"message"`
}

type publishParams struct {
	URI         string       `json:"uri"`
	Version     *int         `json:"version,omitempty"`
	Diagnostics []diagnostic `json:"diagnostics"`
}
