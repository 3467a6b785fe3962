// Package eventlog keeps an append-only, tamper-evident log of byte records in a folder.
//
// Every record is a leaf of a Merkle tree (RFC 6962). The tree's hashes lie in tiles and its root
// in a signed checkpoint, both as C2SP tlog-tiles and tlog-checkpoint lay them out; the records
// lie in segment files of the log's own format, see docs/format/log.md.
//
// It knows nothing of what records mean, writes none of its own and deletes none.
package eventlog
