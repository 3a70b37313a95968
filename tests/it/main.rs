mod azure;
fn main(){}
