// Package check holds templates against rules written in Rego, and says which findings a waiver excuses.
//
// A Set is the compiled rules of a folder: Shipped are imx's own, Load makes one of a user's. Run gives them a
// Document, most often OfTemplate's, and returns findings with the place of the block or setting that each is
// about. Excuse then holds findings, of whatever source, against the template's waivers.
//
// The package reads no folder, asks no clock (the time is part of the document) and decides about no build:
// it returns what was found.
package check
