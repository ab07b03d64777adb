package staff_test

import (
	"testing"

	"frontdesk/store/storetest"
)

func postgres(t testing.TB) string { return storetest.Postgres(t) }
