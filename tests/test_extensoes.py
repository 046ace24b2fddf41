"""Departamentos, comandos, devolução e registro no fio: o que só com sockets se vê."""

import random

import pytest
from automato import Fio
from leitor import Pena
from modelo import NA_ESPERA, REGISTRADA, Modelo, Ouvinte
from participante import FECHOU, Participante
from test_protocolo import casos, cortar

from atendimento.carteiro import Carteiro
from protocolo import Consulta, Fim, Mensagem, Pausa, Pronto, Tipo, Transferencia, Volta, validar_departamentos

DOIS = ("Vendas", "Suporte")
VOLTOU = "AVISO:O atendente Ana desconectou. Você voltou para o início da fila."


# --- A identificação ----------------------------------------------------------------------------


@casos(
    "linhas",
    {
        "outro": ["CLIENTE", "Yuri", "Compras"],
        "vazio-do-cliente": ["CLIENTE", "Yuri", ""],
        "dois-do-cliente": ["CLIENTE", "Yuri", "Vendas,Suporte"],
        "todos-do-cliente": ["CLIENTE", "Yuri", "*"],
        "outro-do-atendente": ["ATENDENTE", "Ana", "Vendas,Compras"],
        "virgula-a-mais": ["ATENDENTE", "Ana", "Vendas,"],
        "linha-longa": ["ATENDENTE", "Ana", "x" * 5000],
        "linha-longa-em-branco": ["ATENDENTE", "Ana", " " * 5000],
        "linha-longa-sem-fim": ["ATENDENTE", "Ana", b" " * 4096],
        "outro-na-primeira-linha": ["CLIENTE:Compras"],
        "dois-na-primeira-linha": ["CLIENTE:Vendas,Suporte"],
        "todos-na-primeira-linha": ["CLIENTE:*"],
        "outro-do-atendente-na-primeira-linha": ["ATENDENTE:x"],
    },
)
def test_escolha_invalida(abrir_servidor, linhas):
    """A recusa traz a lista, e na primeira linha vem na hora; a linha longa demais não quer dizer todos."""
    alguem = abrir_servidor(departamentos=DOIS).conecta()
    alguem.envia(*linhas)
    perguntas = ["NOME:", "DEPARTAMENTO:Vendas,Suporte"] if len(linhas) > 1 else []
    alguem.espera(*perguntas, "FIM:Departamento inválido: escolha entre Vendas, Suporte.", FECHOU)


@casos("tipo", {"cliente": "CLIENTE:Vendas", "atendente": "ATENDENTE:Vendas", "cliente-de-todos": "CLIENTE:*"})
def test_servidor_sem_departamentos(servidor, tipo):
    """Quem diz um departamento a quem não os tem é recusado."""
    alguem = servidor.conecta()
    alguem.envia(tipo)
    alguem.espera("FIM:Departamento inválido: este servidor não tem departamentos.", FECHOU)


@casos("tamanho", {"um-byte": 1, "de-cinco": 5, "de-uma-vez": 4096})
def test_a_senha_vem_antes_do_nome_e_do_departamento(abrir_servidor, tamanho):
    """A ordem das perguntas é senha, nome, departamento, venham as respostas aos pedaços ou todas de uma vez."""
    ana = abrir_servidor(departamentos=DOIS, senha="segredo").conecta()
    for pedaco in cortar(b"ATENDENTE\nsegredo\nAna\n\nFILA:\n", tamanho):
        ana.envia(pedaco)
    ana.espera("SENHA:", "NOME:", "DEPARTAMENTO:Vendas,Suporte", "FILA:OK", "AVISO:Nenhum cliente na fila.")


def test_a_maior_lista_que_cabe_na_pergunta(abrir_servidor):
    """A pergunta pode encher a linha de 4096 bytes; não serve a lista maior, nem a que não se escreve em UTF-8."""
    nomes = [f"{numero:040}" for numero in range(99)] + ["x" * 23]
    assert len(f"DEPARTAMENTO:{','.join(nomes)}\n") == 4096
    alguem = abrir_servidor(departamentos=validar_departamentos(",".join(nomes))).conecta()
    alguem.envia("CLIENTE", "Yuri", nomes[-1])
    alguem.espera("NOME:", f"DEPARTAMENTO:{','.join(nomes)}", "FILA:1")
    for lista in ",".join(nomes) + "x", "Ven\udcff,Suporte":
        with pytest.raises(ValueError):
            validar_departamentos(lista)


# --- Os comandos --------------------------------------------------------------------------------


def test_o_que_se_escreve_para_transferir(abrir_servidor):
    """Vale a escolha de um departamento, como na identificação; a que não serve dá um aviso."""
    servidor = abrir_servidor(departamentos=DOIS)
    ana, yuri = servidor.conecta(), servidor.conecta()
    ana.envia("ATENDENTE:Vendas", "Ana")
    ana.espera("NOME:", "FILA:OK")
    yuri.envia("CLIENTE:Vendas", "Yuri")
    ana.espera("CONECTADO:Yuri")
    ana.envia(*[f"TRANSFERIR:{onde}" for onde in ("Compras", "", "*", "Suporte,Vendas", "VENDAS", " suporte ")])
    ana.espera(*["AVISO:Departamento inválido: escolha entre Vendas, Suporte."] * 4)
    ana.espera("AVISO:O cliente Yuri já está em Vendas.")
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri foi transferido para Suporte.")


# --- Entre dois atendimentos ---------------------------------------------------------------------


@casos("vai_se", {"sai": Participante.fecha, "encerra": lambda cliente: cliente.envia("FIM:")})
@casos("dela", {"fala": "Até logo.", "encerra": "FIM:", "transfere": "TRANSFERIR:Suporte"})
def test_o_que_se_cruza_com_o_fim(abrir_servidor, vai_se, dela):
    """Trinta vezes, o que Ana manda no instante em que um cliente se vai não chega ao seguinte, nem a expulsa."""
    servidor = abrir_servidor(departamentos=DOIS)
    ana, cliente = servidor.conecta("Ana"), None
    ana.envia("ATENDENTE:Vendas", "Ana", "PRONTO:")
    ana.espera("NOME:", "FILA:OK")
    for numero in range(30):
        seguinte = servidor.conecta(f"C{numero}")
        seguinte.envia("CLIENTE:Vendas", seguinte.nome)
        seguinte.espera("NOME:")
        if cliente is not None:
            seguinte.espera("FILA:1")
            acontecem = [lambda: ana.envia(dela), lambda: vai_se(cliente)]
            for acontece in acontecem[:: (-1) ** numero]:
                acontece()
            while not ana.linha().startswith("FIM:Atendimento encerrado."):
                pass
            ana.envia("PRONTO:")
        antes = ana.le_ate(f"CONECTADO:{seguinte.nome}")
        assert len(antes) <= 1 and all(linha.startswith("AVISO:") for linha in antes)
        ana.envia("Oi.")
        seguinte.espera("CONECTADO:Ana", "[Ana]: Oi.")
        if cliente is not None:
            cliente.fecha()
        cliente = seguinte


# --- Quando o atendente cai ---------------------------------------------------------------------


@casos("cai", {"fecha": "fecha", "rst": "some", "meia": "para_de_escrever"})
def test_devolvido_a_frente_da_fila(abrir_servidor, cai):
    """O cliente de quem cai volta a ser o primeiro, e quem esperava fica sabendo."""
    servidor = abrir_servidor(devolver=True, ouvinte=Ouvinte())
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana", REGISTRADA)
    bia = servidor.cliente("Bia", "FILA:1")
    getattr(ana, cai)()
    yuri.espera(VOLTOU, "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("ainda aqui")
    yuri.espera(NA_ESPERA)
    servidor.atendente("Bruno", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: ainda aqui")
    yuri.espera("CONECTADO:Bruno", REGISTRADA)


# --- Histórias sorteadas: o que a especificação manda dizer a cada um ----------------------------

FATOS = {"entrar": 6, "falar": 8, "pedir": 17, "sair": 2, "publicar": 3}  # e o peso de cada um no sorteio
PEDIDOS = {Consulta: 1, Pausa: 3, Volta: 4, Transferencia: 6, Fim: 3, Pronto: 6}
PALAVRAS = {Consulta: "FILA", Pausa: "PAUSA", Volta: "VOLTA", Transferencia: "TRANSFERIR", Fim: "FIM", Pronto: "PRONTO"}


class Historia:
    """Um servidor, o modelo ao lado dele, e uma porção de gente que fala com os dois como a página manda."""

    def __init__(self, sorte, abrir_servidor):
        self.sorte = sorte
        self.departamentos, self.senha = sorte.choice([(), ("Vendas", "Crédito")]), sorte.choice([None, "sê nha"])
        opcoes = {"departamentos": self.departamentos, "devolver": sorte.choice([False, True])}
        self.modelo, self.ouvinte, self.ouvido = Modelo(**opcoes, registrar=True), Ouvinte(), []
        relogio = {"ouvinte": self.ouvinte, "relogio": lambda: self.modelo.agora}
        self.servidor = abrir_servidor(**opcoes, **relogio, senha=self.senha)
        self.so_avanca = not self.departamentos and not opcoes["devolver"]
        self.fios, self.penas = {}, {}

    def acontecer(self):
        """Um fato, no fio e no modelo: cada um lê o que este manda, e nada mais."""
        self.modelo.agora += self.sorte.choice([0, 0, 1, 20, 200])
        poucos, muitos = len(self.modelo.gente) < 2, len(self.modelo.gente) > 16
        (fato,) = ["entrar"] if poucos else ["sair"] if muitos else self.sorte.choices([*FATOS], FATOS.values())
        for no_modelo in getattr(self, fato)():
            lidas, ouviu = self.modelo.acontece(*no_modelo)
            self.ouvido += ouviu
            for nome, linhas in lidas.items():
                if no_modelo != ("sair", nome):
                    self.fios[nome].espera(*linhas)
        assert self.ouvinte.ouvido == self.ouvido

    # O que o fato faz no fio. Devolvem os do modelo que dão no mesmo.

    def publicar(self):
        for cliente in self.servidor.filas.publicar_posicoes():
            self.servidor.carteiro.cuidar_de(cliente)
        return [("publicar_posicoes",)]

    def entrar(self):
        nome, tipo = f"José {len(self.fios)}", self.sorte.choice([Tipo.CLIENTE, Tipo.CLIENTE, Tipo.ATENDENTE])
        quantos = 1 if tipo is Tipo.CLIENTE else self.sorte.randint(1, 2)
        onde = tuple(self.sorte.sample(self.departamentos, quantos)) if self.departamentos else ("",)
        em_json = self.sorte.random() < 0.5
        fio = self.fios[nome] = Fio(self.servidor, nome, tipo, em_json, self.so_avanca)
        pena = self.penas[nome] = Pena(self.sorte, nome, em_json)
        dados, perguntas = pena.entrada(tipo.value, onde, self.departamentos, self.senha)
        for pedaco in pena.pedacos(dados):
            fio.cru.envia(pedaco)
        fio.espera(*perguntas)
        return [("admitir", nome), ("entrar", nome, tipo, nome, onde)]

    def sair(self):
        nome = self.sorte.choice([*self.modelo.gente])
        self.fios[nome].cru.fecha()
        self.servidor.espera_que_fechem(self.servidor.aceitas[[*self.fios].index(nome)])
        return [("sair", nome)]

    def falar(self):
        nome = self.sorte.choice([*self.modelo.gente])
        falas = [self.penas[nome].fala() for _ in range(self.sorte.choice([1, 1, 3]))]
        self.mandar(nome, b"".join(dados for dados, _, _ in falas))
        fatos = []
        for _, dito, avisos in falas:
            fatos += [("responder", nome, aviso) for aviso in avisos]
            fatos += [("repassar_chat", nome, Mensagem(nome, [dito]))] if dito is not None else []
        return [*fatos, ("atender", nome, Consulta())]

    def pedir(self):
        nome = self.sorte.choice([*self.modelo.gente])
        (tipo,) = self.sorte.choices([*PEDIDOS], PEDIDOS.values())
        onde = self.sorte.choice([*self.departamentos, "Compras"]) if tipo is Transferencia else None
        pedido = tipo(onde) if onde else tipo()
        self.fios[nome].vai_dizer(pedido)
        self.mandar(nome, self.penas[nome].pedido(PALAVRAS[tipo], onde))
        return [("atender", nome, pedido), ("atender", nome, Consulta())]

    def mandar(self, nome, dados):
        """Depois do que se mandou, a resposta a uma consulta diz que já aconteceu."""
        for pedaco in self.penas[nome].pedacos(dados + self.penas[nome].pedido("FILA")):
            self.fios[nome].cru.envia(pedaco)


@pytest.mark.parametrize(
    "sementes", [range(25), pytest.param(range(10_000), marks=pytest.mark.demorado)], ids=["vinte-e-cinco", "dez-mil"]
)
def test_cada_um_le_o_que_a_especificacao_manda(abrir_servidor, monkeypatch, sementes):
    """Em histórias sorteadas, em texto e em JSON, escritas de muitas formas, cada um lê o que o modelo diz, e só."""
    monkeypatch.setattr(Carteiro, "_publicar", lambda carteiro: None)  # quem publica as posições é o teste
    for semente in sementes:
        historia = Historia(random.Random(semente), abrir_servidor)
        try:
            for _ in range(40):
                historia.acontecer()
        except (AssertionError, OSError) as erro:
            raise AssertionError(f"história {semente}: {erro}") from erro
        historia.servidor.termina()
