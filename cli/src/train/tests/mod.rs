mod federated;
mod network;
mod state;
