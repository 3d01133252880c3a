mod control;
mod federated;
mod network;
mod state;
