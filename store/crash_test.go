package store_test

const childDSN = "FRONTDESK_STORE_TEST_DSN"

func child(string) int { return 0 }
