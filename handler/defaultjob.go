package handler

// DefaultJob is a job that says nothing but its prompt and sound, with the defaults of the configuration file if there is one.
func (c Config) DefaultJob() (Request, error) {
	c, err := c.open()
	return c.base(), err
}
