// Package imx is the glossary of an immutable-infrastructure platform: the nouns that every
// other package speaks in, and nothing else. A noun's JSON form is at once its form on the wire,
// in the log and in files, so there is one type for each and no converters.
//
// In the order in which work flows through them:
//
//	Template -plan.Resolve-> Plan -build.Run-> Image -control-> Release -rollout.Next-> Instance
//
// Event is what happened, State the fold of all events. The package uses the standard library
// alone and does no I/O.
package imx
