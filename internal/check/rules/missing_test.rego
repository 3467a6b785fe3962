# METADATA
# title: A service that no test starts
# description: No `test` block is for the service, nor for its image.
# custom:
#   id: missing-test
#   severity: low
#   why: >-
#     Without a test a release counts as good when its health check passes. Whether it answers what it should
#     is then found out by whoever uses it.
#   fix: >-
#     Write a `test` block that asks it for something that only works when it works:
#     test "web-answers" { service = service.web ... }.
package imx.rules.missing_test

deny contains {"at": ["service", service.name], "message": message} if {
	some service in input.services
	not tested(service)
	message := sprintf("no test starts service.%s", [service.name])
}

tested(service) if {
	some test in input.tests
	test.service == service.name
}

tested(service) if {
	some test in input.tests
	test.image == service.image
}
