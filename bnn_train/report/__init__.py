"""Tables for people, from plain data: nothing here holds a model, an optimizer or a tensor."""
