// The project has no tables any more.
