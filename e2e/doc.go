// Package e2e holds the tests that drive the built program through its front
// doors with peers that are not ours: SIPp as the trunk, baresip as a caller
// and as an extension, kamailio as a proxy in between.
//
// The test files carry the build tag e2e and are run by `make e2e`. A test
// whose peer is not installed fails and says how to get it.
package e2e
