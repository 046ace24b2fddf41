"""O que a pessoa digita na conversa: mensagens, e `/comandos` para o servidor ou só para a tela."""

from collections.abc import Sequence

from atendimento.linha import Linha
from atendimento.tela import Tela
from protocolo import Comando, Consulta, Fim, Mensagem, Pausa, Pedido, Tipo, Transferencia, Volta

AO_SERVIDOR: dict[str, tuple[str, type[Pedido]]] = {
    "/fila": ("mostra como está a fila", Consulta),
    "/encerrar": ("encerra a conversa", Fim),
}
AO_SERVIDOR_DO_ATENDENTE = AO_SERVIDOR | {
    "/pausa": ("deixa de receber clientes", Pausa),
    "/volta": ("volta a receber clientes", Volta),
    "/transferir": ("passa o cliente a outro departamento: /transferir Suporte", Transferencia),
}
"""O que se digita, o que faz e o pedido que vai ao servidor."""

DA_TELA = {
    "/ajuda": "mostra estes comandos",
    "/sair": "encerra a conversa e fecha o programa",
    "//texto": "envia um texto que começa por /",
}
EM_INGLES = {"/help": "/ajuda", "/quit": "/sair", "/exit": "/sair"}


class Comandos:
    """Traduz o que `nome` digita para o que se manda ao servidor."""

    def __init__(self, tela: Tela, tipo: Tipo, nome: str, departamentos: Sequence[str]) -> None:
        self.tela = tela
        self.nome = nome
        self.pedidos = AO_SERVIDOR if tipo is Tipo.CLIENTE else AO_SERVIDOR_DO_ATENDENTE
        para_onde = [f"/transferir {nome}" for nome in departamentos if "/transferir" in self.pedidos]
        tela.linha = Linha([*self.pedidos, *DA_TELA, *para_onde])

    def interpretar(self, linha: str) -> Comando | None:
        """O que a linha digitada manda ao servidor, se manda algo; `EOFError` se a pessoa quer sair."""
        comando = linha.strip()
        if not comando:
            return None
        # Num texto colado com quebras de linha, cada uma é uma mensagem; nenhuma é um comando.
        if comando.startswith("/") and "\n" not in comando:
            if not comando.startswith("//"):
                return self._pedido(comando)
            linha = comando[1:]
        return Mensagem(self.nome, [parte for parte in linha.split("\n") if parte.strip()])

    def _pedido(self, comando: str) -> Comando | None:
        """O pedido que um `/comando` faz ao servidor, ou `None` se é só com a tela."""
        palavra, _, argumento = comando.partition(" ")
        palavra = palavra.lower()
        _, pedido = self.pedidos.get(palavra, ("", None))
        if pedido is Transferencia and argumento:
            return Transferencia(argumento.strip())
        if pedido is Transferencia:
            self.tela.mostrar("(Diga para onde: /transferir Suporte)", "amarelo")
        elif argumento and (pedido or palavra in DA_TELA):
            self.tela.mostrar(f"({palavra} vai sozinho, sem mais nada na linha.)", "amarelo")
        elif pedido:
            return pedido()
        elif palavra == "/sair":
            raise EOFError
        elif palavra == "/ajuda":
            ajuda = {nome: efeito for nome, (efeito, _) in self.pedidos.items()} | DA_TELA
            self.tela.mostrar("\n".join(f"  {nome:12} {efeito}" for nome, efeito in ajuda.items()), "ciano")
        elif palavra in EM_INGLES:
            self.tela.mostrar(f"(Aqui o comando é {EM_INGLES[palavra]}.)", "amarelo")
        else:
            self.tela.mostrar(f"Comando desconhecido: {palavra} (veja /ajuda; // envia um texto com /).", "amarelo")
        return None
