//! Configuration: a YAML file in, checked values or every problem at once out. Pure: reads no file, no
//! environment and no clock.
pub mod checked;
