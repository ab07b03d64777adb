// Package phonebook keeps the address book of the PBX equal to the CRM: each
// contact, company and lead that has a number is a contact there.
//
// An Entry is what a contact is to hold; Entries makes it, or several where an
// entity has more numbers than a contact has places, from what the CRM says.
// Diff compares what is wanted with what is there and gives a Plan. Both are
// pure: they read no clock and ask nobody.
//
// Whose contact is whose is told by its Tag, B24:C:12345 for contact 12345 of
// the portal. A contact without such a Tag was made by people and is never
// touched. Of a contact with one, our fields are put back to what the CRM says
// when people change them; all others are left as they are. A contact whose Tag
// people took away, or replaced, is theirs from then on: it is not touched any
// more, and the entity gets no second one for as long as theirs exists.
//
// Making a contact cannot be repeated, so it is written down before it is tried,
// as a listing without a contact: after a failure that leaves open whether the
// contact was made, or a process that died, its Tag is looked for before it is
// made again. What nobody wrote down is found by its Tag when a sync begins, and
// adopted. Should two nodes make the same contact at the same moment, the next
// sync deletes one of them.
//
// A Sync does the work. Full brings the whole book in step, and begins where it
// stopped since what is done needs nothing more; Update does so for one entity;
// Run calls Full regularly. What is gone from the CRM is deleted from the book,
// but a list of the CRM that has lost a large part of the book is not believed.
package phonebook
