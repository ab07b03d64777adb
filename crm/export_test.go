package crm

// Complains gives the tests what tells a complaint from a refusal.
var Complains = complains
