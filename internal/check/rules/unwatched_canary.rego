# METADATA
# title: A canary that nobody watches
# description: >-
#   A service is replaced by `canary`, and none of its steps pauses, waits for a person or is judged by metrics: each is over as soon
#   as its instances are healthy.
# custom:
#   id: unwatched-canary
#   severity: low
#   why: >-
#     The steps cost time and tell nothing: a release that is healthy and answers wrongly has all the traffic seconds later.
#   fix: >-
#     Say what is watched: `judge` with the service's metrics, `pause` long enough to see something, or `confirm` for a person. Without,
#     `blue-green` does the same in one move.
package imx.rules.unwatched_canary

deny contains {"at": ["service", service.name, "deploy"], "message": message} if {
	some service in input.services
	service.deploy.strategy == "canary"
	not service.deploy.judge
	not watched(service.deploy)
	message := sprintf("the canary of service.%s goes through its steps without a look at what it answers", [service.name])
}

watched(deploy) if {
	some step in deploy.steps
	step.pause
}

watched(deploy) if {
	some step in deploy.steps
	step.confirm
}
